#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "init.h"

#define LINE_MAX_BYTES 4096

/* Splits `line` at ':' in place. */
static size_t split(char* line, char** fields, size_t max) {
  size_t count = 0;
  line[strcspn(line, "\n")] = 0;
  while (count < max) {
    fields[count++] = line;
    line = strchr(line, ':');
    if (!line) break;
    *line++ = 0;
  }
  return count;
}

static bool parse_id(const char* text, uint32_t* id) {
  char* end = NULL;
  if (*text < '0' || *text > '9') return false;
  const unsigned long long value = strtoull(text, &end, 10);
  if (*end || value >= 0xFFFFFFFFull) return false;
  *id = (uint32_t)value;
  return true;
}

static bool list_has(const char* list, const char* name) {
  const size_t length = strlen(name);
  for (const char* at = list; *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ',')) {
    if (strcspn(at, ",") == length && strncmp(at, name, length) == 0) return true;
  }
  return false;
}

static bool find_group(const char* wanted, gid_t* gid) {
  char line[LINE_MAX_BYTES], *fields[4];
  uint32_t id = 0;
  const bool numeric = parse_id(wanted, &id);
  bool found = false;
  FILE* file = fopen("/etc/group", "re");
  while (file && !found && fgets(line, sizeof line, file)) {
    uint32_t entry = 0;
    if (split(line, fields, 4) < 3 || !parse_id(fields[2], &entry)) continue;
    if (strcmp(fields[0], wanted) == 0) {
      *gid = entry;
      found = true;
    }
  }
  if (file) fclose(file);
  if (!found && numeric) {
    *gid = id;
    found = true;
  }
  return found;
}

static void add_groups(struct user* user) {
  char line[LINE_MAX_BYTES], *fields[4];
  FILE* file = user->name[0] ? fopen("/etc/group", "re") : NULL;
  while (file && user->group_count < 64 && fgets(line, sizeof line, file)) {
    uint32_t id = 0;
    if (split(line, fields, 4) == 4 && parse_id(fields[2], &id) && list_has(fields[3], user->name))
      user->groups[user->group_count++] = id;
  }
  if (file) fclose(file);
}

bool find_user(const char* wanted, struct user* user) {
  *user = (struct user){.home = "/"};
  char name[256] = "";
  if (strlen(wanted) >= sizeof name) return false;
  strcpy(name, *wanted ? wanted : "0");
  char* group = strchr(name, ':');
  if (group) *group++ = 0;

  uint32_t id = 0;
  const bool numeric = parse_id(name, &id);
  bool found = false;
  char line[LINE_MAX_BYTES], *fields[7];
  FILE* file = fopen("/etc/passwd", "re");
  while (file && !found && fgets(line, sizeof line, file)) {
    uint32_t uid = 0, gid = 0;
    if (split(line, fields, 7) < 6 || !parse_id(fields[2], &uid) || !parse_id(fields[3], &gid)) continue;
    if (strcmp(fields[0], name) != 0 && !(numeric && uid == id)) continue;
    user->uid = uid;
    user->gid = gid;
    snprintf(user->name, sizeof user->name, "%s", fields[0]);
    if (*fields[5]) snprintf(user->home, sizeof user->home, "%s", fields[5]);
    found = true;
  }
  if (file) fclose(file);
  if (!found && strcmp(name, "root") == 0) {
    strcpy(user->home, "/root");
    found = true;
  } else if (!found && numeric) {
    user->uid = id;
    if (id == 0) strcpy(user->home, "/root");
    found = true;
  }
  if (!found) return false;
  if (group && *group) return find_group(group, &user->gid); /* the named group only, as docker does */
  add_groups(user);
  return true;
}
