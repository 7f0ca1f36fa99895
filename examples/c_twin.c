/* A gateway's own process with an edge inside, in C99: hub, meta store, twins and the MQTT bus; no containers.
 *   c_twin CLOUD TOKEN_FILE DATA_DIR BROKER NAMESPACE NAME PROPERTY VALUE [HUB_PORT JOIN_PORT]
 * Reports VALUE once the device is known, prints each desired value and reports it back as done; SIGTERM ends it. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kubeedge/c/kubeedge.h>

struct gateway {
  ke_loop *loop;
  ke_edge *edge;
  const char *ns, *name;
  ke_text_pair first; /* what is reported once the device is known */
  int reported;
};

static volatile sig_atomic_t ended;
static void on_signal(int number) {
  (void)number;
  ended = 1;
}

static void durable(void *user, ke_status status, const char *message) {
  struct gateway *gateway = user;
  if (status == KE_OK) printf("durable %s/%s %s=%s\n", gateway->ns, gateway->name, gateway->first.name, gateway->first.value);
  else printf("not yet: %s\n", message); /* the device is known here once the cloud has sent it */
  fflush(stdout);
  gateway->reported = status == KE_OK;
}

static void linked(void *user, int up, const char *why) {
  (void)user;
  printf("link %s: %s\n", up ? "up" : "down", why);
  fflush(stdout);
}

static void desired(void *user, const char *ns, const char *name, const ke_text_pair *wanted, size_t count) {
  struct gateway *gateway = user;
  size_t i;
  for (i = 0; i < count; ++i) printf("desired %s/%s %s=%s\n", ns, name, wanted[i].name, wanted[i].value);
  fflush(stdout);
  ke_twin_report(gateway->edge, ns, name, wanted, count, NULL, NULL); /* this pump obeys at once */
}

static void failure(void *user, ke_status status, const char *message) {
  (void)user;
  fprintf(stderr, "c_twin: %s: %s\n", ke_status_name(status), message);
}

static void stopped(void *user) { ke_loop_stop(((struct gateway *)user)->loop); }

static const char *read_token(const char *path, char *line, int size) {
  FILE *file = fopen(path, "r");
  if (!file) return NULL;
  if (fgets(line, size, file)) line[strcspn(line, "\r\n")] = '\0';
  fclose(file);
  return line;
}

int main(int argc, char **argv) {
  static char token[65536];
  struct gateway gateway = {0};
  ke_edge_options options = {0};
  struct pollfd wait = {0};
  if (argc != 9 && argc != 11) {
    fprintf(stderr, "usage: c_twin CLOUD TOKEN_FILE DATA_DIR BROKER NAMESPACE NAME PROPERTY VALUE [HUB_PORT JOIN_PORT]\n");
    return 2;
  }
  options.size = sizeof options;
  options.node_name = "gw-c";
  options.cloud = argv[1];
  options.token = read_token(argv[2], token, (int)sizeof token);
  options.data_dir = argv[3];
  options.broker = argv[4];
  gateway.ns = argv[5];
  gateway.name = argv[6];
  gateway.first.name = argv[7];
  gateway.first.value = argv[8];
  if (argc == 11) {
    options.hub_port = (uint16_t)atoi(argv[9]);
    options.join_port = (uint16_t)atoi(argv[10]);
  }
  if (ke_loop_new(KE_LOG_INFO, &gateway.loop) != KE_OK || ke_edge_new(gateway.loop, &options, &gateway.edge) != KE_OK) {
    fprintf(stderr, "c_twin: %s\n", ke_last_error());
    return 1;
  }
  ke_edge_on_link(gateway.edge, linked, &gateway);
  ke_edge_on_failure(gateway.edge, failure, &gateway);
  ke_twin_on_desired(gateway.edge, desired, &gateway);
  ke_edge_start(gateway.edge);

  signal(SIGTERM, on_signal);
  signal(SIGINT, on_signal);
  wait.fd = ke_loop_fd(gateway.loop); /* the gateway's own loop: this descriptor beside its others */
  wait.events = POLLIN;
  while (!ended) {
    const int ready = poll(&wait, 1, 500);
    if (ready > 0) ke_loop_drain(gateway.loop);
    if (ready == 0 && !gateway.reported) ke_twin_report(gateway.edge, gateway.ns, gateway.name, &gateway.first, 1, durable, &gateway);
  }
  ke_edge_stop(gateway.edge, stopped, &gateway);
  ke_loop_run(gateway.loop);
  ke_edge_free(gateway.edge);
  ke_loop_free(gateway.loop);
  return 0;
}
