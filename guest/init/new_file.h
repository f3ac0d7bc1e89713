/* A file that appears under its name once it is complete. */
#ifndef NANOBOX_NEW_FILE_H
#define NANOBOX_NEW_FILE_H

#include <stdbool.h>

struct new_file {
  int folder, fd;
  char name[32]; /* its name until then */
};

/* false with errno */
bool new_file_make(struct new_file* file, int folder);
/* Replaces what has that name. false with errno; it is dropped then. */
bool new_file_publish(struct new_file* file, const char* name);
void new_file_drop(struct new_file* file);

#endif
