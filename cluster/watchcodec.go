package cluster

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/ringkv/ringkv/cluster/watch"
	"github.com/ringkv/ringkv/ring"
	"github.com/ringkv/ringkv/storage"
)

// appendHistoryQuery encodes, behind two unused bytes: the wait in ms, the bytes, the number of wants, and of each the
// partition and the index. All are uvarints.
func appendHistoryQuery(dst []byte, q *watch.Query) []byte {
	dst = append(dst, 0, 0)
	dst = binary.AppendUvarint(dst, uint64(q.Wait/time.Millisecond))
	dst = binary.AppendUvarint(dst, uint64(q.MaxBytes))
	dst = binary.AppendUvarint(dst, uint64(len(q.Wants)))
	for _, w := range q.Wants {
		dst = binary.AppendUvarint(dst, uint64(w.Partition))
		dst = binary.AppendUvarint(dst, w.After)
	}
	return dst
}

// decodeHistoryQuery reads what appendHistoryQuery wrote behind the unused bytes.
func decodeHistoryQuery(b []byte) (watch.Query, error) {
	r := wireReader{b: b}
	q := watch.Query{
		Wait:     time.Duration(r.upTo(uint64(maxHistoryWait/time.Millisecond))) * time.Millisecond,
		MaxBytes: int(r.upTo(maxHistoryBytes)),
	}
	for n := r.upTo(MaxPartitions); n > 0 && !r.bad; n-- {
		q.Wants = append(q.Wants, watch.Want{Partition: ring.PartitionID(r.upTo(math.MaxUint16)), After: r.uvarint()})
	}
	if r.bad || len(r.b) > 0 {
		return watch.Query{}, errMalformed
	}
	return q, nil
}

// appendHistoryAnswers encodes of each answer the partition, the verdict and, if it has one, the history with its length.
func appendHistoryAnswers(dst []byte, answers []watch.Answer) []byte {
	for i := range answers {
		a := &answers[i]
		dst = binary.AppendUvarint(dst, uint64(a.Partition))
		dst = binary.AppendUvarint(dst, uint64(a.Verdict))
		if a.Verdict == watch.Here {
			dst = appendString(dst, storage.AppendHistory(nil, &a.History))
		}
	}
	return dst
}

func decodeHistoryAnswers(b []byte) ([]watch.Answer, error) {
	r := wireReader{b: b}
	var answers []watch.Answer
	for len(r.b) > 0 && !r.bad {
		a := watch.Answer{Partition: ring.PartitionID(r.upTo(math.MaxUint16)), Verdict: watch.Verdict(r.upTo(uint64(watch.Elsewhere)))}
		if a.Verdict == watch.Here && !r.bad {
			var err error
			if a.History, err = storage.DecodeHistory(r.string()); err != nil {
				return nil, err
			}
		}
		answers = append(answers, a)
	}
	if r.bad {
		return nil, errMalformed
	}
	return answers, nil
}
