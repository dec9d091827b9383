/* SPDX-License-Identifier: MIT */
/*
 * Properties of a device as the command line gives them: "key=value,key=value", where ",," is a comma inside a
 * value and a bare key means key=on.
 */
#ifndef DEVICES_PROPS_H
#define DEVICES_PROPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copy the value of `key` (the last one given) to buf. False if it is not there, or is too long. */
bool props_get(const char *props, const char *key, char *buf, size_t size);
/* A number in C syntax from min to max; *value stays if the key is missing. -EINVAL: reported, with `who`. */
int props_u32(const char *props, const char *who, const char *key, uint32_t min, uint32_t max, uint32_t *value);
int props_bool(const char *props, const char *who, const char *key, bool *value);
/* Every key must be one of the words of `keys`. -EINVAL: reported. */
int props_check(const char *props, const char *who, const char *keys);

#endif
