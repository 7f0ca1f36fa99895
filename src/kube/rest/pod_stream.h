// pods/log, exec, attach and portforward: which request to which node's kubelet they are. Pure.
#pragma once

#include <string>
#include <variant>

#include "kube/rest/status.h"

namespace kubeedge::kube {

struct PodStream {
  std::string subresource;   // log, exec, attach, portforward
  std::string node;          // "" = a log of a pod that no node has: there is nothing yet
  std::string path, query;   // of the kubelet's API
};

namespace rest {

bool is_pod_stream(std::string_view subresource);
// `pod` as it is stored, `query` raw. Refused as kube-apiserver does it, in its words.
std::variant<PodStream, Failure> pod_stream(const Json& pod, const std::string& subresource, const std::string& query);

}  // namespace rest
}  // namespace kubeedge::kube
