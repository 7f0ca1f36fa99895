// Join: from a token to a client certificate, and its renewal (hub-protocol 3.5).
#pragma once

#include <memory>
#include <string>

#include <kubeedge/resource.h>
#include <kubeedge/result.h>
#include <kubeedge/runtime.h>

#include "net/stream.h"

namespace kubeedge::edge {

struct JoinOptions {
  NodeId node;
  net::Endpoint server;   // the cloud's HTTPS port, 10002
  std::string token;      // needed for the first certificate only; never logged
  std::string ca_file, certificate_file, private_key_file;
};

struct Credentials {
  std::string ca_pem, certificate_pem, private_key_pem;
  std::int64_t not_after = 0;   // Unix seconds
  std::int64_t rotate_at = 0;   // Unix seconds, at 70-90 % of the certificate's life
  bool fresh = false;           // asked for just now
};

// Reads the files of an earlier join, valid by now or, where the clock is behind, later. kNotFound: there are none;
// kUnauthenticated: they are this node's and have expired; other errors: they do not fit the node.
Result<Credentials> load_credentials(const JoinOptions& options, std::int64_t now_unix_s);

// Fetches the CA (checked against the token's hash), then a certificate; writes the files 0600.
// kUnauthenticated and kInvalidArgument are permanent: the token is malformed, wrong or expired; else try again.
void join(const Runtime& runtime, JoinOptions options, unique_function<void(Result<Credentials>)> done);

// A new key and certificate, asked for with the current certificate.
void rotate(const Runtime& runtime, JoinOptions options, Credentials current, unique_function<void(Result<Credentials>)> done);

}  // namespace kubeedge::edge
