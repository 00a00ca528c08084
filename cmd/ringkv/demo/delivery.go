package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ringkv/ringkv/api/client"
)

// delivery hands parcels over from hub to hub, round and round. A parcel's record says where it is; it also lies on that
// hub's shelf, and on no other; and each hub counts its parcels. Several clients want the same parcels, so that many
// hand-overs lose the race and begin again.
type delivery struct {
	prefix  string
	parcels int
	hubs    []string
}

func newDelivery(prefix string, parcels int) *delivery {
	return &delivery{
		prefix: prefix, parcels: parcels,
		hubs: []string{"hamburg", "bremen", "hannover", "kassel", "fulda", "munich"},
	}
}

func (d *delivery) parcel(i int) string { return fmt.Sprintf("%sparcel/%03d", d.prefix, i) }

func (d *delivery) shelf(hub string, i int) string {
	return fmt.Sprintf("%sshelf/%s/%03d", d.prefix, hub, i)
}

func (d *delivery) count(hub string) string { return d.prefix + "count/" + hub }

func place(hub string, hops int64) []byte { return fmt.Appendf(nil, "%s after %d", hub, hops) }

func parsePlace(value []byte) (hub string, hops int64, err error) {
	if _, err = fmt.Sscanf(string(value), "%s after %d", &hub, &hops); err != nil {
		return "", 0, fmt.Errorf("%q is no place: %w", value, err)
	}
	return hub, hops, nil
}

func (d *delivery) open() map[string][]byte {
	values, counts := make(map[string][]byte), make(map[string]int64)
	for i := range d.parcels {
		hub := d.hubs[i%len(d.hubs)]
		values[d.parcel(i)] = place(hub, 0)
		values[d.shelf(hub, i)] = []byte{}
		counts[hub]++
	}
	for _, hub := range d.hubs {
		values[d.count(hub)] = number(counts[hub])
	}
	return values
}

func (d *delivery) step(ctx context.Context, p *player) error {
	i := p.rand.IntN(d.parcels)
	return p.txn(ctx, func(tx *client.Tx) error { return d.handOver(ctx, p, tx, i) })
}

// handOver moves the i-th parcel to the next hub.
func (d *delivery) handOver(ctx context.Context, p *player, tx *client.Tx, i int) error {
	value, err := tx.Get(ctx, d.parcel(i))
	if err != nil {
		return err
	}
	hub, hops, err := parsePlace(value)
	if err != nil {
		p.run.foul(Check{Name: "parcels at every moment", Detail: err.Error()})
		return errRefused
	}
	onShelf, err := tx.Get(ctx, d.shelf(hub, i))
	if err != nil {
		return err
	}
	if onShelf == nil { // perhaps it was handed over between the two reads
		if err := tx.Check(ctx); err != nil {
			return err
		}
		p.run.foul(Check{Name: "parcels at every moment", Detail: fmt.Sprintf("parcel %d is at %s and not on its shelf", i, hub)})
		return errRefused
	}
	next := d.hubs[(slices.Index(d.hubs, hub)+1)%len(d.hubs)]
	tx.Delete(d.shelf(hub, i))
	tx.Put(d.shelf(next, i), nil)
	tx.Put(d.parcel(i), place(next, hops+1))
	tx.Add(d.count(hub), -1, client.AtLeast(0))
	tx.Add(d.count(next), 1)
	return nil
}

func (d *delivery) audit(books books, players []*player) []Check {
	var (
		lost  []string
		moved int64
		lying = make(map[string]int64) // parcels by hub
	)
	for i := range d.parcels {
		hub, hops, err := parsePlace(books[d.parcel(i)])
		if err != nil {
			lost = append(lost, err.Error())
			continue
		}
		if shelves := d.shelves(books, i); !slices.Equal(shelves, []string{hub}) {
			lost = append(lost, fmt.Sprintf("parcel %d is at %s and on the shelves of %v", i, hub, shelves))
		}
		moved += hops
		lying[hub]++
	}
	if n := len(books.under(d.prefix + "shelf/")); n != d.parcels {
		lost = append(lost, fmt.Sprintf("%d parcels lie on shelves", n))
	}
	var miscounted, counts []string
	for _, hub := range d.hubs {
		n, err := books.number(d.count(hub))
		switch {
		case err != nil:
			miscounted = append(miscounted, err.Error())
		case n != lying[hub]:
			miscounted = append(miscounted, fmt.Sprintf("%s counts %d of %d parcels", hub, n, lying[hub]))
		}
		counts = append(counts, fmt.Sprintf("%s %d", hub, n))
	}
	done, doubt := sums(players)
	return []Check{
		kept("parcels", fmt.Sprintf("each of %d is on one shelf, the one that its record names", d.parcels), lost),
		kept("counts", strings.Join(counts, ", "), miscounted),
		told("hand-overs", moved, done, doubt),
	}
}

// shelves returns the hubs on whose shelves the i-th parcel lies.
func (d *delivery) shelves(books books, i int) []string {
	var hubs []string
	for _, hub := range d.hubs {
		if _, ok := books[d.shelf(hub, i)]; ok {
			hubs = append(hubs, hub)
		}
	}
	return hubs
}
