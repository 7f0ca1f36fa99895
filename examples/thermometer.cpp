// A device app: reports a temperature every second and takes over each target that is wished for in the cloud.
//   thermometer [BROKER [NAMESPACE NAME [CELSIUS]]]
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include <kubeedge/device.h>

int main(int argc, char** argv) {
  kubeedge::device::Client client{{.broker = argc > 1 ? argv[1] : "tcp://127.0.0.1:1883"}};
  auto thermo = client.device(argc > 3 ? argv[2] : "default", argc > 3 ? argv[3] : "thermo-1");
  auto temperature = thermo.property<double>("temperature");
  auto target = thermo.property<double>("target");
  const double sensor = argc > 4 ? std::atof(argv[4]) : 21.5;

  target.on_desired([&](double celsius) {
    std::printf("target %g\n", celsius);   // a heater would warm up here; this one is there at once
    std::fflush(stdout);
    target.report(celsius);
  });
  client.every(std::chrono::seconds{1}, [&] { temperature.report(sensor); });
  return client.run();                     // reconnects, sends again, never loses the last value
}
