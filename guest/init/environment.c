#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "init.h"

struct environment sandbox_environment;
char image_cwd[4096] = "/";
char image_user[256] = "";

/* The image's own. */
static struct environment own_environment;
static char own_cwd[sizeof image_cwd] = "/";
static char own_user[sizeof image_user];

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

static void read_line(const char* path, char* text, size_t size) {
  FILE* file = fopen(path, "re");
  if (!file) return;
  if (fgets(text, (int)size, file)) text[strcspn(text, "\n")] = 0;
  fclose(file);
}

void read_image_settings(void) {
  char* entry = NULL;
  size_t size = 0;
  FILE* file = fopen("/etc/nanobox/env", "re");
  while (file && getdelim(&entry, &size, 0, file) > 0) environment_set(&own_environment, entry);
  free(entry);
  if (file) fclose(file);
  read_line("/etc/nanobox/workdir", own_cwd, sizeof own_cwd);
  read_line("/etc/nanobox/user", own_user, sizeof own_user);
  if (!*own_cwd) strcpy(own_cwd, "/");
  if (!environment_get(&own_environment, "PATH"))
    environment_set(&own_environment, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  restore_image_settings();
}

void restore_image_settings(void) {
  environment_free(&sandbox_environment);
  for (size_t i = 0; i < own_environment.count; ++i) environment_set(&sandbox_environment, own_environment.entries[i]);
  strcpy(image_cwd, own_cwd);
  strcpy(image_user, own_user);
}
