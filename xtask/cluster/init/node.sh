#!/bin/sh
# First process of a node's pid and mount namespaces: gives the node its own /run, /var/lib and /var/log, starts its
# three programs, then reaps orphans. Ends when told by SIGKILL, and with it the whole node.
# Wants: NODE NODE_NAME NODE_ADDRESS NODE_FOLDER PKI LOGS, and PATH with the cluster's programs.
set -eu

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mount --bind "$NODE_FOLDER/lib" /var/lib
mount --bind "$NODE_FOLDER/log" /var/log
mkdir -p /run/netns /var/lib/kubelet
mount --make-rshared /

rm -f "$NODE_FOLDER"/containerd.sock*
containerd --config "$NODE_FOLDER/containerd.toml" >"$LOGS/$NODE_NAME-containerd.log" 2>&1 &
tries=0
until ctr -a "$NODE_FOLDER/containerd.sock" version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || exit 1
    sleep 0.1
done

# containerd answers before what the kubelet asks of it is initialised, and the kubelet gives up at once: it is started again, as service
# managers do.
keep_kubelet() {
    tries=0
    until kubelet --config="$NODE_FOLDER/kubelet.yaml" --kubeconfig="$PKI/$NODE_NAME.kubeconfig" \
        --hostname-override="$NODE_NAME" --node-ip="$NODE_ADDRESS" --v=0; do
        tries=$((tries + 1))
        [ "$tries" -lt 30 ] || return 1
        sleep 0.5
    done
}
keep_kubelet >"$LOGS/$NODE_NAME-kubelet.log" 2>&1 &
kube-proxy --kubeconfig="$PKI/proxy.kubeconfig" --hostname-override="$NODE_NAME" --proxy-mode=nftables \
    --cluster-cidr=198.18.0.0/16 --conntrack-max-per-core=0 --healthz-bind-address="$NODE_ADDRESS:10256" \
    --metrics-bind-address=127.0.0.1:10249 --v=0 >"$LOGS/$NODE_NAME-kube-proxy.log" 2>&1 &
wait
