package systemtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestSameRequestOnce sends the same transaction 50 times in parallel to all nodes under one Idempotency-Key while nodes
// are killed: it takes effect once, and whoever is answered is answered alike.
func TestSameRequestOnce(t *testing.T) {
	f := newFleet(t, 3)
	for i := range 3 {
		f.start(i)
		f.ready(i)
	}
	c := f.client()
	defer c.Close()
	for round := range 6 {
		key := fmt.Sprintf("once/%d/", round)
		body := fmt.Appendf(nil, `{"then":[{"op":"add","key":"%sa","by":1},{"op":"add","key":"%sb","by":1},{"op":"add","key":"%sc","by":1}]}`, key, key, key)
		answers := f.sendEverywhere(t, body, key, round)
		if len(answers) != 1 {
			t.Errorf("round %d: %d different answers: %v", round, len(answers), answers)
		}
		for _, k := range []string{"a", "b", "c"} {
			if item, err := c.Get(t.Context(), key+k); err != nil || string(item.Value) != "1" {
				t.Errorf("round %d: %s is %q, %v", round, k, item.Value, err)
			}
		}
	}
}

// sendEverywhere sends body 50 times and has every sender repeat it until it is answered for good. It returns the different answers.
func (f *fleet) sendEverywhere(t *testing.T, body []byte, key string, round int) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	answers := make(map[string]int)
	for i := range 50 {
		wg.Go(func() {
			answer, err := f.sendUntilAnswered(ctx, i, body, key)
			if err != nil {
				t.Errorf("round %d, sender %d: %v", round, i, err)
				return
			}
			mu.Lock()
			answers[answer]++
			mu.Unlock()
		})
	}
	if round%2 == 1 { // in the midst of it
		victim := round / 2
		f.pause(time.Duration(round) * 3 * time.Millisecond)
		f.nodes[victim].kill()
		f.start(victim)
		f.ready(victim)
	}
	wg.Wait()
	return answers
}

// sendUntilAnswered asks one node after the other.
func (f *fleet) sendUntilAnswered(ctx context.Context, i int, body []byte, key string) (string, error) {
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	last := errors.New("never asked")
	for ; ctx.Err() == nil; i++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+f.nodes[i%3].http+"/v1/txn", bytes.NewReader(body))
		if err != nil {
			return "", err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
		resp, err := c.Do(req)
		if err == nil {
			answer, readErr := io.ReadAll(resp.Body)
			resp.Body.Close()
			if readErr == nil && resp.StatusCode == http.StatusOK {
				return string(answer), nil
			}
			err = fmt.Errorf("status %d: %s, %w", resp.StatusCode, answer, readErr)
		}
		last = err
		f.pause(20 * time.Millisecond)
	}
	return "", last
}
