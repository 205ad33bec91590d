// Preloaded into the native server (failures.test.mjs): reads of its data file fail while the file that FAULT names exists.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(int fd) {
  const char *flag = getenv("FAULT");
  if (!flag || access(flag, F_OK) != 0) return 0;
  char link[64], name[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, name, sizeof name - 1);
  if (length <= 0) return 0;
  name[length] = 0;
  return strstr(name, "livestore-sync.db") != NULL;
}

#define READ(name, offset)                                                                \
  ssize_t name(int fd, void *to, size_t bytes, offset at) {                               \
    static ssize_t (*real)(int, void *, size_t, offset);                                  \
    if (!real) real = (ssize_t(*)(int, void *, size_t, offset))dlsym(RTLD_NEXT, #name);   \
    if (fails(fd)) { errno = EIO; return -1; }                                            \
    return real(fd, to, bytes, at);                                                       \
  }
READ(pread, off_t)
READ(pread64, off64_t)
