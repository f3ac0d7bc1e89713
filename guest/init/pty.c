#define _GNU_SOURCE
#include "pty.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif
#define TTY_GROUP 5 /* as devpts is mounted */

bool pty_open(uint16_t columns, uint16_t rows, uid_t uid, int* master, int* slave) {
  int unlocked = 0;
  *slave = -1;
  *master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (*master < 0) return false;
  if (ioctl(*master, (int)TIOCSPTLCK, &unlocked) == 0)
    *slave = ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*slave < 0) {
    const int problem = errno;
    close(*master);
    *master = -1;
    errno = problem;
    return false;
  }
  if (fchown(*slave, uid, TTY_GROUP) == 0) fchmod(*slave, 0620);
  pty_resize(*master, columns, rows);
  return true;
}

void pty_resize(int master, uint16_t columns, uint16_t rows) {
  const struct winsize size = {.ws_col = columns, .ws_row = rows};
  ioctl(master, TIOCSWINSZ, &size);
}

void pty_end_input(int master, uint8_t last_byte) {
  struct termios settings;
  if (tcgetattr(master, &settings) != 0) return;
  /* In the middle of a line the first one only hands that over. */
  const uint8_t end[2] = {settings.c_cc[VEOF], settings.c_cc[VEOF]};
  const ssize_t written = write(master, end, last_byte == '\n' || last_byte == 0 ? 1 : 2);
  (void)written; /* a terminal whose input is full of unread lines takes no end of it */
}
