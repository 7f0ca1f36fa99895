/* KubeEdge in C99: device apps (ke_client), an edge in your process (ke_edge), the twins of that edge (ke_twin).
 *
 * All of it lives on a ke_loop: a thread of the library, whose news comes out of a descriptor. Put ke_loop_fd() into your own
 * poll set and call ke_loop_drain() when it is readable, or let ke_loop_run() do both. Callbacks run inside the drain, on the
 * thread that drains, and nowhere else. Functions may be called from any thread, in callbacks too, unless they say otherwise.
 *
 * A function that can fail returns a ke_status; ke_last_error() then has one line of text, until the next failure on the same
 * thread. Text is UTF-8, ends with '\0' and is copied. Pointers given to a callback are valid until it returns. `user` comes
 * back as it was given. A ke_done may be NULL; it gets KE_OK, or a status with its line.
 */
#ifndef KUBEEDGE_C_KUBEEDGE_H
#define KUBEEDGE_C_KUBEEDGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define KE_API __attribute__((visibility("default")))
#else
#define KE_API
#endif

typedef enum ke_status {
  KE_OK = 0,
  KE_INVALID_ARGUMENT = 1,
  KE_NOT_FOUND = 2,
  KE_ALREADY_EXISTS = 3,
  KE_CONFLICT = 4,
  KE_PERMISSION_DENIED = 5,
  KE_UNAUTHENTICATED = 6,
  KE_UNAVAILABLE = 7,
  KE_TIMEOUT = 8,
  KE_CANCELLED = 9,
  KE_LIMIT_EXCEEDED = 10,
  KE_UNIMPLEMENTED = 11,
  KE_IO = 12,
  KE_INTERNAL = 13
} ke_status;

typedef enum ke_log_level { KE_LOG_DEBUG = 0, KE_LOG_INFO = 1, KE_LOG_WARNING = 2, KE_LOG_ERROR = 3 } ke_log_level;

typedef enum ke_type { KE_INT = 0, KE_DOUBLE = 1, KE_BOOL = 2, KE_STRING = 3, KE_BYTES = 4 } ke_type;

typedef enum ke_state { KE_STATE_OK = 0, KE_STATE_ONLINE = 1, KE_STATE_OFFLINE = 2, KE_STATE_UNHEALTHY = 3, KE_STATE_UNKNOWN = 4 } ke_state;

typedef struct ke_loop ke_loop;
typedef struct ke_client ke_client;
typedef struct ke_property ke_property;
typedef struct ke_edge ke_edge;

/* The member that `type` names holds the value: integer (KE_INT), number (KE_DOUBLE), truth 0 or 1 (KE_BOOL), or data with
 * size bytes (KE_STRING, KE_BYTES; a string needs no '\0'). */
typedef struct ke_value {
  ke_type type;
  int64_t integer;
  double number;
  int truth;
  const char *data;
  size_t size;
} ke_value;

typedef struct ke_named_value {
  const char *name;
  ke_value value;
} ke_named_value;

/* One property of a twin as text; expected or actual is NULL where that side has no value. */
typedef struct ke_twin_property {
  const char *name;
  const char *expected;
  const char *actual;
  const char *type;
} ke_twin_property;

typedef struct ke_text_pair {
  const char *name;
  const char *value;
} ke_text_pair;

typedef void (*ke_done)(void *user, ke_status status, const char *message);
typedef void (*ke_error_fn)(void *user, ke_status status, const char *message);
typedef void (*ke_connection_fn)(void *user, int connected, const char *why);
typedef void (*ke_value_fn)(void *user, const ke_value *value);
typedef void (*ke_twin_fn)(void *user, ke_status status, const char *message, const ke_twin_property *properties, size_t count);
typedef void (*ke_desired_fn)(void *user, const char *ns, const char *name, const ke_text_pair *wanted, size_t count);
typedef void (*ke_event_fn)(void *user);

KE_API const char *ke_version(void);
KE_API const char *ke_status_name(ke_status status);
KE_API const char *ke_last_error(void);

/* ---- The loop. Lines of `least` and above go to standard error. */
KE_API ke_status ke_loop_new(ke_log_level least, ke_loop **out);
KE_API int ke_loop_fd(const ke_loop *loop);
KE_API size_t ke_loop_drain(ke_loop *loop);
/* Polls and drains on this thread until ke_loop_stop(), which any thread and any signal handler may call. */
KE_API ke_status ke_loop_run(ke_loop *loop);
KE_API void ke_loop_stop(ke_loop *loop);
/* After its clients and edges; not in a callback. NULL is fine, here and in the other _free functions. */
KE_API void ke_loop_free(ke_loop *loop);

/* ---- A device app. Unset members of the options (0, NULL) mean what is written beside them. */
typedef struct ke_client_options {
  size_t size;                /* sizeof(ke_client_options) */
  const char *broker;         /* tcp://127.0.0.1:1883 */
  const char *client_id;      /* one is made up */
  const char *username;
  const char *password;
  const char *ca_file;
  const char *certificate_file;
  const char *private_key_file;
} ke_client_options;

KE_API ke_status ke_client_new(ke_loop *loop, const ke_client_options *options, ke_client **out);
KE_API ke_status ke_client_start(ke_client *client);
/* Waits up to 2 s for what is not yet acknowledged, disconnects, then calls `done`. */
KE_API void ke_client_stop(ke_client *client, ke_event_fn done, void *user);
/* Ends the client and its properties; callbacks that have not run will not. On the thread that drains. */
KE_API void ke_client_free(ke_client *client);
KE_API void ke_client_on_connection(ke_client *client, ke_connection_fn handler, void *user);
/* Errors that no ke_done was told; without a handler they are logged. */
KE_API void ke_client_on_error(ke_client *client, ke_error_fn handler, void *user);

/* A property of a device; belongs to the client. Wrong names are an error of each use. */
KE_API ke_status ke_client_property(ke_client *client, const char *ns, const char *device, const char *name, ke_type type, ke_property **out);
/* `done`: KE_OK once this value, or a newer one of the same property, is durable at the edge. Until then the newest is kept and
 * sent again, over restarts of broker and edge. KE_INVALID_ARGUMENT: not the declared type, too long, or the edge refused it. */
KE_API void ke_property_report(ke_property *property, const ke_value *value, ke_done done, void *user);
KE_API void ke_property_report_int(ke_property *property, int64_t value, ke_done done, void *user);
KE_API void ke_property_report_double(ke_property *property, double value, ke_done done, void *user);
KE_API void ke_property_report_bool(ke_property *property, int value, ke_done done, void *user);
KE_API void ke_property_report_string(ke_property *property, const char *value, ke_done done, void *user);
KE_API void ke_property_report_bytes(ke_property *property, const void *data, size_t size, ke_done done, void *user);
/* Once for each value that is wished for, also of the time that this app was away. */
KE_API void ke_property_on_desired(ke_property *property, ke_value_fn handler, void *user);

/* Several values in one message; KE_OK once all are durable. */
KE_API void ke_client_report(ke_client *client, const char *ns, const char *device, const ke_named_value *values, size_t count, ke_done done, void *user);
KE_API void ke_client_get(ke_client *client, const char *ns, const char *device, ke_twin_fn done, void *user);
KE_API void ke_client_set_state(ke_client *client, const char *ns, const char *device, ke_state state, ke_done done, void *user);

/* ---- An edge in this process: hub, meta store, node, twins, MQTT bus; no pods. */
typedef struct ke_edge_options {
  size_t size;                /* sizeof(ke_edge_options) */
  const char *node_name;      /* the host's */
  const char *cloud;          /* host name or address; needed */
  uint16_t hub_port;          /* 10000 */
  uint16_t join_port;         /* 10002 */
  const char *token;          /* needed until the first certificate is there; never logged */
  const char *data_dir;       /* /var/lib/kubeedge */
  const char *broker;         /* tcp://127.0.0.1:1883 */
  int no_mqtt;                /* 1 = twins by this API only */
} ke_edge_options;

KE_API ke_status ke_edge_new(ke_loop *loop, const ke_edge_options *options, ke_edge **out);
/* After the handlers are set. */
KE_API void ke_edge_start(ke_edge *edge);
KE_API void ke_edge_stop(ke_edge *edge, ke_event_fn done, void *user);
KE_API void ke_edge_free(ke_edge *edge);
KE_API void ke_edge_on_link(ke_edge *edge, ke_connection_fn handler, void *user);
/* What no retry mends: a token or certificate that is refused. The edge goes on with what it has. */
KE_API void ke_edge_on_failure(ke_edge *edge, ke_error_fn handler, void *user);

/* The twins of this edge's devices. Values are text, as on MQTT. */
KE_API void ke_twin_on_desired(ke_edge *edge, ke_desired_fn handler, void *user);
/* `done` after the values are durable. KE_NOT_FOUND: the device is not known here (yet). */
KE_API void ke_twin_report(ke_edge *edge, const char *ns, const char *device, const ke_text_pair *values, size_t count, ke_done done, void *user);
KE_API void ke_twin_get(ke_edge *edge, const char *ns, const char *device, ke_twin_fn done, void *user);
KE_API void ke_twin_set_state(ke_edge *edge, const char *ns, const char *device, ke_state state, ke_done done, void *user);

#ifdef __cplusplus
}
#endif

#endif
