/* thermometer.cpp in C99: reports a temperature every second, takes over each target that is wished for in the cloud.
 *   c_thermometer [BROKER [NAMESPACE NAME [CELSIUS]]] */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include <kubeedge/c/kubeedge.h>

static void wished(void *target, const ke_value *celsius) {
  printf("target %g\n", celsius->number); /* a heater would warm up here; this one is there at once */
  fflush(stdout);
  ke_property_report(target, celsius, NULL, NULL);
}

int main(int argc, char **argv) {
  const char *ns = argc > 3 ? argv[2] : "default", *name = argc > 3 ? argv[3] : "thermo-1";
  const double sensor = argc > 4 ? atof(argv[4]) : 21.5;
  ke_client_options options = {0};
  ke_loop *loop;
  ke_client *client;
  ke_property *temperature, *target;
  struct pollfd wait = {0};

  options.size = sizeof options;
  options.broker = argc > 1 ? argv[1] : NULL;
  if (ke_loop_new(KE_LOG_WARNING, &loop) != KE_OK || ke_client_new(loop, &options, &client) != KE_OK ||
      ke_client_property(client, ns, name, "temperature", KE_DOUBLE, &temperature) != KE_OK ||
      ke_client_property(client, ns, name, "target", KE_DOUBLE, &target) != KE_OK || ke_client_start(client) != KE_OK) {
    fprintf(stderr, "c_thermometer: %s\n", ke_last_error());
    return 1;
  }
  ke_property_on_desired(target, wished, target);
  wait.fd = ke_loop_fd(loop); /* the program's own loop: this descriptor and a pace of one second */
  wait.events = POLLIN;
  for (;;) {
    const int ready = poll(&wait, 1, 1000);
    if (ready > 0) ke_loop_drain(loop);
    if (ready == 0) ke_property_report_double(temperature, sensor, NULL, NULL);
  }
}
