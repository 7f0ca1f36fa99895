// Kubernetes' protobuf form of an object (application/vnd.kubernetes.protobuf) -> its JSON. kubectl 1.32 creates with it. Pure.
#pragma once

#include <string_view>
#include <variant>

#include "kube/rest/status.h"

namespace kubeedge::kube::rest {

inline constexpr std::string_view kProtobufType = "application/vnd.kubernetes.protobuf";

// A body that begins with "k8s\0". Answers stay JSON: every client that sends this accepts it.
std::variant<Json, Failure> json_of_protobuf(std::string_view body);

}  // namespace kubeedge::kube::rest
