/* CRC-32C for machines that are emulated, where the processor's instruction is slow. */
#ifndef NANOBOX_CHECKSUM_H
#define NANOBOX_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* As nanobox_crc32c. */
uint32_t checksum_by_shifts(uint32_t crc, const void* data, size_t size);

#endif
