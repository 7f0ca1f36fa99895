// The floor under "10 pods to Ready": so many sandboxes with a container each, started through CRI with nothing around it.
//   bench-cri SOCKET IMAGE COUNT     prints the seconds until the last one runs, then removes them
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <asio/io_context.hpp>

#include "edge/edged/cri_client.h"

namespace {

using kubeedge::Result;
using kubeedge::edged::ContainerSpec;
using kubeedge::edged::CriClient;
using kubeedge::edged::Json;
using kubeedge::edged::SandboxSpec;

struct Pod {
  Json object;
  std::string sandbox, container;
};

class Floor {
 public:
  Floor(asio::io_context& loop, const std::string& socket, std::string image, int count)
      : loop_(loop), runtime_(loop.get_executor()), cri_(runtime_, "unix://" + socket), image_(std::move(image)) {
    for (int i = 0; i < count; ++i) {
      const std::string name = "floor-" + std::to_string(i);
      pods_.push_back({{{"metadata", {{"name", name}, {"namespace", "bench"}, {"uid", name}}},
                        {"spec", {{"hostNetwork", true}, {"containers", {{{"name", "c"}, {"image", image_}}}}}}},
                       {}, {}});
    }
  }

  // Seconds from the first request to the last container's start; negative = failed.
  double run() {
    const auto start = std::chrono::steady_clock::now();
    for (Pod& pod : pods_) begin(pod);
    wait();
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (Pod& pod : pods_) end(pod);
    wait();
    return failed_ ? -1 : took;
  }

 private:
  void begin(Pod& pod) {
    ++open_;
    SandboxSpec spec{&pod.object, 0, ""};
    cri_.run_sandbox(spec, [this, &pod](Result<std::string> id) {
      if (!ok(id)) return;
      pod.sandbox = *id;
      const SandboxSpec sandbox{&pod.object, 0, ""};
      ContainerSpec container;
      container.pod = &pod.object;
      container.container = &pod.object["spec"]["containers"][0];
      container.image = image_;
      container.command = {"sleep", "1000000"};
      cri_.create_container(pod.sandbox, sandbox, container, [this, &pod](Result<std::string> created) {
        if (!ok(created)) return;
        pod.container = *created;
        cri_.start_container(pod.container, [this](Result<void> started) {
          if (ok(started)) --open_;
        });
      });
    });
  }

  void end(Pod& pod) {
    if (pod.sandbox.empty()) return;
    ++open_;
    cri_.stop_container(pod.container, 0, [this, &pod](Result<void>) {
      cri_.stop_sandbox(pod.sandbox, [this, &pod](Result<void>) { cri_.remove_sandbox(pod.sandbox, [this](Result<void>) { --open_; }); });
    });
  }

  template <class T> bool ok(const Result<T>& result) {
    if (result) return true;
    std::fprintf(stderr, "bench-cri: %s\n", result.error().message.c_str());
    failed_ = true;
    --open_;
    return false;
  }
  void wait() {
    while (open_ > 0) loop_.run_one();
  }

  asio::io_context& loop_;
  kubeedge::Runtime runtime_;
  CriClient cri_;
  std::string image_;
  std::vector<Pod> pods_;
  int open_ = 0;
  bool failed_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: bench-cri SOCKET IMAGE COUNT\n");
    return 2;
  }
  asio::io_context loop{1};
  Floor floor(loop, argv[1], argv[2], std::atoi(argv[3]));
  const double took = floor.run();
  if (took < 0) return 1;
  std::printf("%.3f\n", took);
  return 0;
}
