// The app of device_client.py: counts up from FIRST every 2 ms and prints what was acknowledged and what was wished for.
#include <cstdio>
#include <cstdlib>

#include <kubeedge/device.h>

int main(int, char** argv) {
  kubeedge::device::Client client{{.broker = argv[1]}};
  auto thermo = client.device("default", "thermo-1");
  auto count = thermo.property<std::int64_t>("count");
  auto target = thermo.property<double>("target");
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  target.on_desired([&](double celsius) {
    std::printf("target %g\n", celsius);
    target.report(celsius);
  });
  std::int64_t next = std::atoll(argv[2]);
  client.every(std::chrono::milliseconds{2}, [&] {
    const std::int64_t value = next++;
    count.report(value, [value](const kubeedge::Result<void>& result) {
      if (result.ok()) std::printf("durable %lld\n", static_cast<long long>(value));
    });
  });
  thermo.set_state(kubeedge::device::State::kOnline, [](const kubeedge::Result<void>& result) { std::printf("state %s\n", result.ok() ? "stored" : "lost"); });
  const int code = client.run();
  std::printf("last %lld\n", static_cast<long long>(next - 1));
  return code;
}
