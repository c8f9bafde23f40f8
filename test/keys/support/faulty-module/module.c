/*
 * A PKCS#11 module for tests: SoftHSM2, with the faults of real tokens on demand. A file that $AIRSEAL_FAULTS names says which, one
 * `NAME VALUE` a line, read at each call: `login`, `sign`, `token` (the CKR to answer with), `flags` (bits of CK_TOKEN_INFO to add),
 * `flip` (1: one bit of each signature is wrong). Each login and signature that reaches it adds a line to $AIRSEAL_FAULTS.calls.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long CK_ULONG;
typedef CK_ULONG CK_RV;
/* PKCS#11 v2.40 §5.3: a version, then 68 functions in the order of the standard. */
struct function_list {
  unsigned char major, minor;
  void *functions[68];
};
enum { GET_FUNCTION_LIST = 3, GET_TOKEN_INFO = 6, OPEN_SESSION = 12, LOGIN = 18, SIGN = 43 };
/* CK_TOKEN_INFO: label 32, manufacturer 32, model 16, serial 16, then the flags. */
#define FLAGS_AT 96

static struct function_list *real;
static struct function_list faulty;

static CK_ULONG fault(const char *name) {
  char line[128], key[32];
  CK_ULONG value = 0, read_value = 0;
  const char *path = getenv("AIRSEAL_FAULTS");
  FILE *file = path == NULL ? NULL : fopen(path, "r");
  if (file == NULL) return 0;
  while (fgets(line, sizeof line, file) != NULL)
    if (sscanf(line, "%31s %lx", key, &read_value) == 2 && strcmp(key, name) == 0) value = read_value;
  fclose(file);
  return value;
}

static void count(const char *name) {
  char path[4096];
  const char *base = getenv("AIRSEAL_FAULTS");
  if (base == NULL) return;
  snprintf(path, sizeof path, "%s.calls", base);
  FILE *file = fopen(path, "a");
  if (file == NULL) return;
  fprintf(file, "%s\n", name);
  fclose(file);
}

static CK_RV get_token_info(CK_ULONG slot, unsigned char *info) {
  CK_ULONG answer = fault("token"), flags = 0;
  if (answer != 0) return answer;
  answer = ((CK_RV(*)(CK_ULONG, unsigned char *))real->functions[GET_TOKEN_INFO])(slot, info);
  if (answer != 0) return answer;
  memcpy(&flags, info + FLAGS_AT, sizeof flags);
  flags |= fault("flags");
  memcpy(info + FLAGS_AT, &flags, sizeof flags);
  return 0;
}

static CK_RV open_session(CK_ULONG slot, CK_ULONG flags, void *application, void *notify, CK_ULONG *session) {
  CK_ULONG answer = fault("token");
  if (answer != 0) return answer;
  return ((CK_RV(*)(CK_ULONG, CK_ULONG, void *, void *, CK_ULONG *))real->functions[OPEN_SESSION])(slot, flags, application,
                                                                                                    notify, session);
}

static CK_RV login(CK_ULONG session, CK_ULONG user, unsigned char *pin, CK_ULONG size) {
  CK_ULONG answer = fault("login");
  count("login");
  if (answer != 0) return answer;
  return ((CK_RV(*)(CK_ULONG, CK_ULONG, unsigned char *, CK_ULONG))real->functions[LOGIN])(session, user, pin, size);
}

static CK_RV sign(CK_ULONG session, unsigned char *data, CK_ULONG size, unsigned char *signature, CK_ULONG *length) {
  CK_ULONG answer = fault("sign");
  if (answer == 0) answer = fault("token");
  count("sign");
  if (answer != 0) return answer;
  answer = ((CK_RV(*)(CK_ULONG, unsigned char *, CK_ULONG, unsigned char *, CK_ULONG *))real->functions[SIGN])(
      session, data, size, signature, length);
  if (answer == 0 && signature != NULL && *length > 0 && fault("flip") != 0) signature[*length - 1] ^= 1;
  return answer;
}

CK_RV C_GetFunctionList(struct function_list **list) {
  if (real == NULL) {
    void *library = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW | RTLD_LOCAL);
    CK_RV (*get)(struct function_list **) = library == NULL ? NULL : (CK_RV(*)(struct function_list **))dlsym(library, "C_GetFunctionList");
    if (get == NULL || get(&real) != 0) return 5; /* CKR_GENERAL_ERROR */
    faulty = *real;
    faulty.functions[GET_FUNCTION_LIST] = (void *)C_GetFunctionList;
    faulty.functions[GET_TOKEN_INFO] = (void *)get_token_info;
    faulty.functions[OPEN_SESSION] = (void *)open_session;
    faulty.functions[LOGIN] = (void *)login;
    faulty.functions[SIGN] = (void *)sign;
  }
  *list = &faulty;
  return 0;
}
