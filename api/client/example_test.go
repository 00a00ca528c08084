package client_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringkv/ringkv/api"
	"github.com/ringkv/ringkv/api/client"
	"github.com/ringkv/ringkv/api/client/clienttest"
)

func Example() {
	cluster := clienttest.New(3) // in earnest: nodes that run elsewhere
	defer cluster.Close()
	ctx := context.Background()

	c, err := client.New(client.Config{Nodes: cluster.Addrs()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()

	if _, err := c.Put(ctx, "greeting", []byte("hello")); err != nil {
		fmt.Println(err)
		return
	}
	item, err := c.Get(ctx, "greeting")
	fmt.Printf("%s (version %d) %v\n", item.Value, item.Version, err)

	_, err = c.Get(ctx, "nothing")
	fmt.Println(errors.Is(err, client.ErrNotFound))
	// Output:
	// hello (version 1) <nil>
	// true
}

// A value is changed by reading it and writing it back on condition that nobody else did in between. The condition
// also makes it safe to begin again after an unknown outcome.
func ExampleIfMatch() {
	cluster := clienttest.New(3)
	defer cluster.Close()
	c, _ := client.New(client.Config{Nodes: cluster.Addrs()})
	defer func() { _ = c.Close() }()
	ctx := context.Background()
	_, _ = c.Put(ctx, "motto", []byte("slow"))

	amend := func(version api.Version) error {
		_, err := c.Put(ctx, "motto", []byte("slow and steady"), client.IfMatch(version))
		return err
	}
	item, _ := c.Get(ctx, "motto")
	fmt.Println(amend(item.Version))

	var changed *api.ConditionError
	if err := amend(item.Version); errors.As(err, &changed) {
		fmt.Println("meanwhile at version", changed.Version)
	}
	// Output:
	// <nil>
	// meanwhile at version 2
}

func ExampleClient_List() {
	cluster := clienttest.New(3)
	defer cluster.Close()
	c, _ := client.New(client.Config{Nodes: cluster.Addrs()})
	defer func() { _ = c.Close() }()
	ctx := context.Background()
	for _, key := range []string{"user/2", "user/1", "video/1"} {
		_, _ = c.Put(ctx, key, []byte("value of "+key))
	}

	for item, err := range c.List(ctx, client.ListOptions{Prefix: "user/"}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %s\n", item.Key, item.Value)
	}
	// Output:
	// user/1: value of user/1
	// user/2: value of user/2
}
