/* SPDX-License-Identifier: MIT */
/* The program dragoman-img: `dragoman img` without the rest. */
#include "frontends/img.h"

int main(int argc, char **argv) { return img_main(argc - 1, argv + 1); }
