/*
 * ECDSA verification over a digest that was computed elsewhere: what node:crypto does not offer.
 * Uses the OpenSSL inside the runtime (its symbols are exported), so there is nothing to link and no second library to patch.
 *
 * verify(packed: Uint8Array) -> Promise<number>: a bit mask, bit n set when signature n is good. `packed` holds up to 32 of
 *   curve (1 byte: 0 P-256, 1 P-384, 2 P-521), digest length (1), signature length (1),
 *   point (uncompressed, length by curve), digest, signature (ASN.1 DER).
 * The bytes are copied before the call returns and judged on the thread pool. Malformed input counts as a bad signature.
 * verifyNow(packed: Uint8Array) -> number: the same on the calling thread, for the test at start.
 */
#include <node_api.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIGNATURES 32
#define HEADER 3
#define MAX_ITEM (HEADER + 133 + 255 + 255)

static const struct {
  const char *name;
  size_t point;
} CURVES[] = {{"P-256", 65}, {"P-384", 97}, {"P-521", 133}};

struct job {
  napi_async_work work;
  napi_deferred deferred;
  uint32_t good;
  size_t size;
  uint8_t bytes[];
};

/* 1 when the signature is good; 0 otherwise, also for a point that is not on the curve. */
static int verify_one(const char *curve, const uint8_t *point, size_t point_size, const uint8_t *digest,
                      size_t digest_size, const uint8_t *signature, size_t signature_size) {
  int good = 0;
  EVP_PKEY *key = NULL;
  EVP_PKEY_CTX *verifier = NULL;
  EVP_PKEY_CTX *importer = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)curve, 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)point, point_size),
      OSSL_PARAM_construct_end(),
  };
  if (importer != NULL && EVP_PKEY_fromdata_init(importer) == 1 &&
      EVP_PKEY_fromdata(importer, &key, EVP_PKEY_PUBLIC_KEY, params) == 1) {
    verifier = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    /* ECDSA_verify encodes what it decoded and compares: only strict DER passes. Anything but exactly 1 is a refusal. */
    good = verifier != NULL && EVP_PKEY_verify_init(verifier) == 1 &&
           EVP_PKEY_verify(verifier, signature, signature_size, digest, digest_size) == 1;
  }
  EVP_PKEY_CTX_free(verifier);
  EVP_PKEY_free(key);
  EVP_PKEY_CTX_free(importer);
  ERR_clear_error(); /* the pool's threads are shared with the runtime's own crypto */
  return good;
}

static void judge(struct job *job) {
  size_t at = 0;
  for (uint32_t n = 0; n < MAX_SIGNATURES && at < job->size; n++) {
    const uint8_t *item = job->bytes + at;
    size_t left = job->size - at;
    if (left < HEADER || item[0] >= sizeof CURVES / sizeof CURVES[0]) return;
    size_t point = CURVES[item[0]].point, digest = item[1], signature = item[2];
    size_t whole = HEADER + point + digest + signature;
    if (left < whole) return;
    const uint8_t *bytes = item + HEADER;
    if (digest > 0 && signature > 0 && bytes[0] == 0x04 &&
        verify_one(CURVES[item[0]].name, bytes, point, bytes + point, digest, bytes + point + digest, signature)) {
      job->good |= UINT32_C(1) << n;
    }
    at += whole;
  }
}

static void execute(napi_env env, void *data) {
  (void)env;
  judge(data);
}

static void complete(napi_env env, napi_status status, void *data) {
  struct job *job = data;
  napi_value result;
  /* A job that did not run (the environment ends) verified nothing. */
  if (napi_create_uint32(env, status == napi_ok ? job->good : 0, &result) == napi_ok) {
    napi_resolve_deferred(env, job->deferred, result);
  }
  napi_delete_async_work(env, job->work);
  free(job);
}

/* The argument of a call as a job; NULL with an exception pending when it is not usable. */
static struct job *job_of(napi_env env, napi_callback_info info) {
  size_t count = 1, size = 0;
  napi_value argument;
  napi_typedarray_type type;
  void *bytes = NULL;
  bool is_array = false;
  if (napi_get_cb_info(env, info, &count, &argument, NULL, NULL) != napi_ok || count != 1 ||
      napi_is_typedarray(env, argument, &is_array) != napi_ok || !is_array ||
      napi_get_typedarray_info(env, argument, &type, &size, &bytes, NULL, NULL) != napi_ok ||
      type != napi_uint8_array || size == 0 || size > MAX_SIGNATURES * MAX_ITEM) {
    napi_throw_type_error(env, NULL, "want one Uint8Array of packed signatures");
    return NULL;
  }
  struct job *job = calloc(1, sizeof *job + size);
  if (job == NULL) {
    napi_throw_error(env, NULL, "out of memory");
    return NULL;
  }
  job->size = size;
  memcpy(job->bytes, bytes, size);
  return job;
}

static napi_value verify_now(napi_env env, napi_callback_info info) {
  napi_value result = NULL;
  struct job *job = job_of(env, info);
  if (job == NULL) return NULL;
  judge(job);
  if (napi_create_uint32(env, job->good, &result) != napi_ok) result = NULL;
  free(job);
  return result;
}

static napi_value verify(napi_env env, napi_callback_info info) {
  napi_value promise, name;
  struct job *job = job_of(env, info);
  if (job == NULL) return NULL;
  if (napi_create_promise(env, &job->deferred, &promise) != napi_ok) {
    free(job);
    napi_throw_error(env, NULL, "no promise");
    return NULL;
  }
  if (napi_create_string_utf8(env, "airseal:ecdsa", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_async_work(env, NULL, name, execute, complete, job, &job->work) != napi_ok ||
      napi_queue_async_work(env, job->work) != napi_ok) {
    /* The promise is answered in any case: nothing was verified. */
    napi_value none;
    if (napi_create_uint32(env, 0, &none) == napi_ok) napi_resolve_deferred(env, job->deferred, none);
    if (job->work != NULL) napi_delete_async_work(env, job->work);
    free(job);
  }
  return promise;
}

static int export_function(napi_env env, napi_value exports, const char *name, napi_callback callback) {
  napi_value function;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, NULL, &function) == napi_ok &&
         napi_set_named_property(env, exports, name, function) == napi_ok;
}

NAPI_MODULE_INIT() {
  if (!export_function(env, exports, "verify", verify) || !export_function(env, exports, "verifyNow", verify_now)) {
    napi_throw_error(env, NULL, "can't export the functions");
  }
  return exports;
}
