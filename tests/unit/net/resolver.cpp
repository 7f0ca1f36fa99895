#include "net/resolver.h"

#include <chrono>

#include <asio/io_context.hpp>

#include "net_test.h"

using namespace kubeedge;

TEST_CASE("names are looked up in order, off the loop; the loop lives until they are told") {
  asio::io_context loop;
  std::vector<std::string> told;
  auto& resolver = net::Resolver::of(loop.get_executor());
  resolver.resolve(loop.get_executor(), {"localhost", 1234}, [&](Result<std::vector<net::Address>> found) {
    REQUIRE(found);
    REQUIRE_FALSE(found->empty());
    told.emplace_back("localhost");
  });
  resolver.resolve(loop.get_executor(), {"no.such.name.invalid", 1}, [&](Result<std::vector<net::Address>> found) {
    REQUIRE_FALSE(found);
    CHECK(found.error().code == Errc::kUnavailable);
    told.push_back(found.error().message.substr(0, 35));
  });
  CHECK(told.empty());
  loop.run();
  CHECK(told == std::vector<std::string>{"localhost", "cannot resolve no.such.name.invalid"});
}

TEST_CASE("a loop may end with look-ups under way: who asked is let go and never called") {
  auto asked = std::make_shared<int>(0);
  {
    asio::io_context loop;
    for (int i = 0; i < 20; ++i)
      net::Resolver::of(loop.get_executor()).resolve(loop.get_executor(), {"no.such.name.invalid", 1}, [asked](const Result<std::vector<net::Address>>&) { ++*asked; });
    CHECK(asked.use_count() == 21);
  }
  CHECK(asked.use_count() == 1);
  CHECK(*asked == 0);
}

TEST_CASE("names that wait for a silent name server have a limit") {
  asio::io_context loop;
  std::size_t refused = 0;
  for (int i = 0; i < 100'000; ++i)
    net::Resolver::of(loop.get_executor()).resolve(loop.get_executor(), {"localhost", 1}, [&](const Result<std::vector<net::Address>>& found) {
      if (!found) refused += found.error().code == Errc::kLimitExceeded;
    });
  loop.run();
  CHECK(refused > 0);
}
