#!/bin/sh
# First process of the control plane's pid and mount namespaces: etcd and API server, and once that is ready the
# rest. Ends when told by SIGKILL, and with it the whole control plane.
# Wants: CLUSTER PKI LOGS READY, and PATH with the cluster's programs.
set -eu

etcd --name=e --data-dir="$CLUSTER/etcd" --listen-client-urls=http://127.0.0.1:2379 \
    --advertise-client-urls=http://127.0.0.1:2379 --listen-peer-urls=http://127.0.0.1:2380 \
    --unsafe-no-fsync --log-level=warn >"$LOGS/etcd.log" 2>&1 &
kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --secure-port=6443 \
    --advertise-address=198.18.0.1 \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-client-certificate="$PKI/kubelet-client.crt" \
    --kubelet-client-key="$PKI/kubelet-client.key" --kubelet-preferred-address-types=InternalIP \
    --token-auth-file="$PKI/tokens.csv" --anonymous-auth=false --authorization-mode=Node,RBAC \
    --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --service-account-key-file="$PKI/sa.key" --service-account-signing-key-file="$PKI/sa.key" \
    --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=198.19.0.0/16 \
    >"$LOGS/kube-apiserver.log" 2>&1 &

tries=0
until [ "$(kubectl --kubeconfig="$PKI/admin.kubeconfig" get --raw=/readyz 2>/dev/null)" = ok ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || exit 1
    sleep 0.1
done
touch "$READY"

# Without --authentication-skip-lookup both complain every minute about a front proxy that is not there.
manager_flags="--authentication-skip-lookup --bind-address=127.0.0.1 --leader-elect=false
    --kube-api-qps=300 --kube-api-burst=600"
# shellcheck disable=SC2086 # the flags are words
kube-controller-manager --kubeconfig="$PKI/kcm.kubeconfig" --authentication-kubeconfig="$PKI/kcm.kubeconfig" \
    --authorization-kubeconfig="$PKI/kcm.kubeconfig" $manager_flags \
    --service-account-private-key-file="$PKI/sa.key" --use-service-account-credentials \
    --root-ca-file="$PKI/ca.crt" --node-monitor-grace-period=8s --node-monitor-period=1s \
    >"$LOGS/kube-controller-manager.log" 2>&1 &
# shellcheck disable=SC2086
kube-scheduler --kubeconfig="$PKI/scheduler.kubeconfig" --authentication-kubeconfig="$PKI/scheduler.kubeconfig" \
    --authorization-kubeconfig="$PKI/scheduler.kubeconfig" $manager_flags >"$LOGS/kube-scheduler.log" 2>&1 &
coredns -conf "$CLUSTER/Corefile" >"$LOGS/coredns.log" 2>&1 &
wait
