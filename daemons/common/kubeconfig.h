// How to reach a kube-apiserver: a kubeconfig file, or the pod that we run in.
#pragma once

#include <string>

#include <kubeedge/result.h>

#include "kube/client/remote_client.h"

namespace daemons {

// The current context of a kubeconfig. `master` (a URL) replaces its server where given; with `path` empty it is all there is.
// Certificates, keys and tokens are taken from the file or from the files that it names (relative ones beside it).
// Errors name file, line and key. Not honoured, each an error that says so: exec and auth-provider plugins, user and
// password, impersonation, proxy-url. TLS is verified unless the kubeconfig says insecure-skip-tls-verify.
kubeedge::Result<kubeedge::kube::RemoteOptions> load_kubeconfig(const std::string& path, const std::string& master);

// The service account of the pod that we run in: KUBERNETES_SERVICE_HOST and _PORT, token and CA below `account_dir`.
kubeedge::Result<kubeedge::kube::RemoteOptions> in_cluster(const std::string& account_dir = "/var/run/secrets/kubernetes.io/serviceaccount");

// kubeAPIConfig as upstream reads it: a kubeconfig and/or a master URL; with neither, in_cluster().
kubeedge::Result<kubeedge::kube::RemoteOptions> api_options(const std::string& kubeconfig, const std::string& master);

}  // namespace daemons
