#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "init.h"

#define ENVIRONMENT_FILE_MAX (1u << 20)

struct environment sandbox_environment;
char image_cwd[4096] = "/";
char image_user[256] = "";

void environment_set(struct environment* environment, const char* entry) {
  const char* equals = strchr(entry, '=');
  if (!equals || equals == entry) return;
  char* copy = strdup(entry);
  if (!copy) return;
  const size_t name = (size_t)(equals - entry) + 1;
  for (size_t i = 0; i < environment->count; ++i) {
    if (strncmp(environment->entries[i], entry, name) != 0) continue;
    free(environment->entries[i]);
    environment->entries[i] = copy;
    return;
  }
  char** grown = realloc(environment->entries, (environment->count + 2) * sizeof *grown);
  if (!grown) {
    free(copy);
    return;
  }
  environment->entries = grown;
  environment->entries[environment->count++] = copy;
  environment->entries[environment->count] = NULL;
}

const char* environment_get(const struct environment* environment, const char* name) {
  const size_t length = strlen(name);
  for (size_t i = 0; i < environment->count; ++i)
    if (strncmp(environment->entries[i], name, length) == 0 && environment->entries[i][length] == '=')
      return environment->entries[i] + length + 1;
  return NULL;
}

void environment_free(struct environment* environment) {
  for (size_t i = 0; i < environment->count; ++i) free(environment->entries[i]);
  free(environment->entries);
  *environment = (struct environment){0};
}

/* The whole file, NUL-terminated, or NULL. */
static char* read_file(const char* path, size_t* size) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return NULL;
  char* text = malloc(ENVIRONMENT_FILE_MAX + 1);
  size_t used = 0;
  while (text && used < ENVIRONMENT_FILE_MAX) {
    const ssize_t count = read(fd, text + used, ENVIRONMENT_FILE_MAX - used);
    if (count <= 0) break;
    used += (size_t)count;
  }
  close(fd);
  if (text) text[used] = 0;
  if (size) *size = used;
  return text;
}

static void read_line(const char* path, char* to, size_t size) {
  char* text = read_file(path, NULL);
  if (text && *text && strlen(text) < size) {
    strcpy(to, text);
    to[strcspn(to, "\n")] = 0;
  }
  free(text);
}

void load_image_settings(void) {
  size_t size = 0;
  char* text = read_file("/etc/nanobox/env", &size);
  for (size_t at = 0; text && at < size; at += strlen(text + at) + 1) environment_set(&sandbox_environment, text + at);
  free(text);
  if (!environment_get(&sandbox_environment, "PATH"))
    environment_set(&sandbox_environment, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  read_line("/etc/nanobox/workdir", image_cwd, sizeof image_cwd);
  read_line("/etc/nanobox/user", image_user, sizeof image_user);
}
