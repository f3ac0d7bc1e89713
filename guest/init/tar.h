/* POSIX tar archives (pax; ustar and GNU's long names are read too): format, and folders to and from them. */
#ifndef NANOBOX_TAR_H
#define NANOBOX_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAR_BLOCK 512
#define TAR_NAME_MAX 4095

/* tar_format.c */
enum tar_type {
  TAR_FILE = '0',
  TAR_HARD_LINK = '1',
  TAR_SYMLINK = '2',
  TAR_CHARACTER = '3',
  TAR_BLOCK_DEVICE = '4',
  TAR_FOLDER = '5',
  TAR_FIFO = '6'
};

struct tar_entry {
  char type; /* enum tar_type */
  char name[TAR_NAME_MAX + 1], link[TAR_NAME_MAX + 1];
  uint32_t mode, uid, gid, major, minor;
  uint64_t size; /* of a file; 0 of all else */
  int64_t mtime; /* seconds since 1970 */
  uint32_t mtime_ns;
};

struct tar_problem {
  uint32_t reason; /* enum nanobox_reason */
  int number;      /* errno, or 0 */
  char text[512];
};

struct tar_reader {
  /* Fills `bytes`; less than `size` only at the end of the input. */
  size_t (*read)(void* context, uint8_t* bytes, size_t size);
  void* context;
  uint64_t left;    /* bytes of the entry that were not read yet */
  uint32_t padding; /* behind them */
  bool begun;
};

/* 1: the next entry, whose data tar_data reads; 0: the archive's end; -1: a problem */
int tar_next(struct tar_reader* reader, struct tar_entry* entry, struct tar_problem* problem);
/* The next bytes of the entry's data, at most `size`; 0 at its end, and where the archive is cut off. */
size_t tar_data(struct tar_reader* reader, uint8_t* bytes, size_t size);

/* Most of what stands before an entry's data: a pax header with two long names, and its own. */
#define TAR_HEADER_MAX (2 * TAR_BLOCK + 2 * (TAR_NAME_MAX + 1) + 1024)
/* Writes what stands before an entry's data; its length. */
size_t tar_header(const struct tar_entry* entry, uint8_t bytes[TAR_HEADER_MAX]);

/* tar_pack.c: writes the folder's content; takes `folder`. Other file systems mounted in it and sockets are left out.
 */
bool tar_pack(int folder, int out, struct tar_problem* problem);
/* tar_unpack.c: reads an archive into the folder until the input ends. Nothing gets out of the folder, by names or by
 * links. `made`: the folder is new, so an entry for itself counts. */
bool tar_unpack(int folder, int in, bool made, struct tar_problem* problem);

#endif
