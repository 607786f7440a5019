// The Kubernetes control plane of the local cluster as one program: the first
// argument names the component, the rest are that component's own flags.
//
// One program links the Kubernetes libraries once: four times smaller and
// faster to build than four programs. Flags and behaviour are upstream's own.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register" // for --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

var commands = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
}

func main() {
	if len(os.Args) < 2 {
		fail("no component named")
	}
	component := os.Args[1]
	os.Args = append([]string{component}, os.Args[2:]...)
	if component == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	command, known := commands[component]
	if !known {
		fail(fmt.Sprintf("unknown component %q", component))
	}
	os.Exit(cli.Run(command()))
}

func fail(problem string) {
	fmt.Fprintf(os.Stderr,
		"%s: %s: want etcd, kube-apiserver, kube-scheduler or kube-controller-manager\n",
		filepath.Base(os.Args[0]), problem)
	os.Exit(2)
}
