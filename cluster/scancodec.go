package cluster

import (
	"encoding/binary"
	"math"

	"github.com/ringkv/ringkv/ring"
)

// scanRequest asks a node for a page of some partitions.
type scanRequest struct {
	List
	partitions []ring.PartitionID
}

// append encodes the request behind two unused bytes: every body begins with a partition.
func (r *scanRequest) append(dst []byte) []byte {
	dst = append(dst, 0, 0)
	var flags byte
	if r.KeysOnly {
		flags |= 1
	}
	if r.End != nil {
		flags |= 2
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(r.Limit))
	dst = binary.AppendUvarint(dst, uint64(r.MaxBytes))
	dst = appendString(dst, r.Start)
	dst = appendString(dst, r.End)
	dst = binary.AppendUvarint(dst, uint64(len(r.partitions)))
	for _, p := range r.partitions {
		dst = binary.BigEndian.AppendUint16(dst, uint16(p))
	}
	return dst
}

func decodeScanRequest(b []byte) (scanRequest, error) {
	if len(b) < 1 {
		return scanRequest{}, errMalformed
	}
	r := wireReader{b: b[1:]}
	req := scanRequest{List: List{Limit: int(r.upTo(math.MaxInt32)), MaxBytes: int(r.upTo(math.MaxInt32)), Start: r.string(), End: r.string(), KeysOnly: b[0]&1 != 0}}
	if b[0]&2 == 0 {
		req.End = nil
	}
	n := r.upTo(math.MaxUint16)
	if r.bad || b[0] > 3 || req.Limit < 1 || uint64(len(r.b)) != 2*n {
		return scanRequest{}, errMalformed
	}
	for i := range n {
		req.partitions = append(req.partitions, ring.PartitionID(binary.BigEndian.Uint16(r.b[2*i:])))
	}
	return req, nil
}

// scanResponse is a node's page, and the partitions that it does not lead with the nodes to ask instead (0: unknown).
type scanResponse struct {
	part
	notLed  []ring.PartitionID
	leaders []ring.NodeID
}

func (r *scanResponse) append(dst []byte) []byte {
	if r.next == nil {
		dst = append(dst, 0)
	} else {
		dst = appendString(append(dst, 1), r.next)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.notLed)))
	for i, p := range r.notLed {
		dst = binary.AppendUvarint(dst, uint64(p))
		dst = binary.AppendUvarint(dst, uint64(r.leaders[i]))
	}
	for i := range r.items {
		dst = appendItem(dst, &r.items[i])
	}
	return dst
}

func decodeScanResponse(b []byte) (scanResponse, error) {
	if len(b) < 1 || b[0] > 1 {
		return scanResponse{}, errMalformed
	}
	var resp scanResponse
	r := wireReader{b: b[1:]}
	if b[0] == 1 {
		resp.next = r.string()
	}
	for n := r.uvarint(); n > 0 && !r.bad; n-- {
		resp.notLed = append(resp.notLed, ring.PartitionID(r.upTo(math.MaxUint16)))
		resp.leaders = append(resp.leaders, ring.NodeID(r.upTo(math.MaxUint32)))
	}
	for len(r.b) > 0 {
		resp.items = append(resp.items, r.item())
	}
	if r.bad {
		return scanResponse{}, errMalformed
	}
	return resp, nil
}
