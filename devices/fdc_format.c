/* SPDX-License-Identifier: MIT */
/*
 * Formats of floppy disks that raw images come in, told apart by their size: those of DOS, and the denser
 * ones of Microsoft's distribution disks and of 2M, fdformat and their like. 512-byte sectors throughout.
 */
#include "devices/fdc82077.h"

static const struct fdc_format formats[] = {
    {40, 1, 8, FDC_DRIVE_360K},   {40, 1, 9, FDC_DRIVE_360K},   {40, 2, 8, FDC_DRIVE_360K},
    {40, 2, 9, FDC_DRIVE_360K},   {40, 1, 10, FDC_DRIVE_360K},  {40, 2, 10, FDC_DRIVE_360K},
    {41, 2, 9, FDC_DRIVE_360K},   {41, 2, 10, FDC_DRIVE_360K},  {42, 2, 9, FDC_DRIVE_360K},
    {42, 2, 10, FDC_DRIVE_360K},  {80, 2, 8, FDC_DRIVE_720K},   {80, 2, 9, FDC_DRIVE_720K},
    {82, 2, 9, FDC_DRIVE_720K},   {80, 2, 10, FDC_DRIVE_720K},  {82, 2, 10, FDC_DRIVE_720K},
    {83, 2, 10, FDC_DRIVE_720K},  {80, 2, 15, FDC_DRIVE_1200K}, {82, 2, 15, FDC_DRIVE_1200K},
    {80, 2, 16, FDC_DRIVE_1200K}, {80, 2, 18, FDC_DRIVE_1440K}, {82, 2, 18, FDC_DRIVE_1440K},
    {83, 2, 18, FDC_DRIVE_1440K}, {80, 2, 20, FDC_DRIVE_1440K}, {82, 2, 20, FDC_DRIVE_1440K},
    {83, 2, 20, FDC_DRIVE_1440K}, {80, 2, 21, FDC_DRIVE_1440K}, {82, 2, 21, FDC_DRIVE_1440K},
    {83, 2, 21, FDC_DRIVE_1440K}, {80, 2, 22, FDC_DRIVE_1440K}, {82, 2, 22, FDC_DRIVE_1440K},
    {83, 2, 22, FDC_DRIVE_1440K}, {80, 2, 23, FDC_DRIVE_1440K}, {80, 2, 24, FDC_DRIVE_1440K},
    {80, 2, 36, FDC_DRIVE_2880K}, {82, 2, 36, FDC_DRIVE_2880K}, {80, 2, 39, FDC_DRIVE_2880K},
    {80, 2, 44, FDC_DRIVE_2880K}, {80, 2, 48, FDC_DRIVE_2880K},
};

const struct fdc_format *fdc_find_format(uint64_t bytes) {
  for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
    if ((uint64_t)formats[i].cylinders * formats[i].heads * formats[i].sectors * SECTOR == bytes)
      return &formats[i];
  return NULL;
}

bool fdc_geometry(uint64_t bytes, unsigned *cylinders, unsigned *heads, unsigned *sectors) {
  const struct fdc_format *format = fdc_find_format(bytes);
  if (!format)
    return false;
  if (cylinders)
    *cylinders = format->cylinders;
  if (heads)
    *heads = format->heads;
  if (sectors)
    *sectors = format->sectors;
  return true;
}
