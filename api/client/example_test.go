package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// A transaction that needs no reading: it moves money, if there is enough of it, and books that once.
func ExampleClient_Transact() {
	cluster := clienttest.New(3)
	defer cluster.Close()
	c, _ := client.New(client.Config{Nodes: cluster.Addrs()})
	defer func() { _ = c.Close() }()
	ctx := context.Background()
	_, _ = c.Put(ctx, "acct/1", []byte("150"))

	pay := client.NewTxn(client.ExactlyOnce()).
		IfAbsent("tx/9").
		Add("acct/1", -100, client.AtLeast(0)).
		Add("acct/2", 100).
		Put("tx/9", []byte("paid"), client.TTL(24*time.Hour))

	res, err := c.Transact(ctx, pay)
	fmt.Printf("%s is left, %v\n", res.Results[0].Value, err)

	_, err = c.Transact(ctx, pay)
	var refused *client.TxnFailedError
	if errors.As(err, &refused) {
		fmt.Println(refused)
	}
	// Output:
	// 50 is left, <nil>
	// /if/0: key "tx/9" is at version 2
}

// A transaction that reads, thinks and writes. It is run again when somebody else has changed what it has read.
func ExampleClient_Txn() {
	cluster := clienttest.New(3)
	defer cluster.Close()
	c, _ := client.New(client.Config{Nodes: cluster.Addrs()})
	defer func() { _ = c.Close() }()
	ctx := context.Background()
	_, _ = c.Put(ctx, "parcel/7", []byte("Hamburg"))

	err := c.Txn(ctx, func(tx *client.Tx) error {
		place, err := tx.Get(ctx, "parcel/7")
		if err != nil {
			return err
		}
		tx.Put("parcel/7", []byte("Bremen"))
		tx.Delete("shelf/" + string(place) + "/7")
		tx.Put("shelf/Bremen/7", nil)
		return nil
	}, client.ExactlyOnce())
	fmt.Println(err)

	item, _ := c.Get(ctx, "parcel/7")
	fmt.Printf("%s\n", item.Value)
	// Output:
	// <nil>
	// Bremen
}

func ExampleClient_Update() {
	cluster := clienttest.New(3)
	defer cluster.Close()
	c, _ := client.New(client.Config{Nodes: cluster.Addrs()})
	defer func() { _ = c.Close() }()
	ctx := context.Background()

	for _, guest := range []string{"Ada", "Grace"} {
		_ = c.Update(ctx, "guests", func(old []byte) ([]byte, error) {
			return append(old, guest+"\n"...), nil
		})
	}
	item, _ := c.Get(ctx, "guests")
	fmt.Printf("%s", item.Value)
	// Output:
	// Ada
	// Grace
}
