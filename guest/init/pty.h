/* Terminals of commands. */
#ifndef NANOBOX_PTY_H
#define NANOBOX_PTY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A new terminal that belongs to `uid`. false with errno. */
bool pty_open(uint16_t columns, uint16_t rows, uid_t uid, int* master, int* slave);
void pty_resize(int master, uint16_t columns, uint16_t rows);
/* What a user types to end the input, after text that ended in `last_byte`. */
void pty_end_input(int master, uint8_t last_byte);

#endif
