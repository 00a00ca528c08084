package api

import "time"

// Paths of version 1. A key follows PathKV and a slash, percent-encoded; see AppendKeyPath.
const (
	PathKV         = "/v1/kv"
	PathTxn        = "/v1/txn"   // a transaction's id follows, and a slash before it, to ask for its status
	PathLocks      = "/v1/locks" // a lock's name follows, as a key follows PathKV
	PathWatch      = "/v1/watch"
	PathCluster    = "/v1/cluster"
	PathRing       = "/v1/ring"
	PathRingLocate = "/v1/ring/locate"
	PathHealth     = "/healthz"
	PathReady      = "/readyz"
	PathMetrics    = "/metrics"
	PathOpenAPI    = "/openapi.yaml"
)

// Header names in net/http's canonical spelling, so that a header map may be indexed with them.
const (
	HeaderETag        = "Etag"
	HeaderIfMatch     = "If-Match"
	HeaderIfNoneMatch = "If-None-Match"
	HeaderContentType = "Content-Type"
	HeaderAccept      = "Accept"
	HeaderAllow       = "Allow"
	HeaderRetryAfter  = "Retry-After"
	HeaderPartition   = "Ringkv-Partition" // the key's partition, decimal
	HeaderTTLMs       = "Ringkv-Ttl-Ms"    // milliseconds that a key has left, decimal; absent if it never expires

	HeaderLastEventID = "Last-Event-Id" // the cursor from which a watch goes on

	HeaderIdempotencyKey      = "Idempotency-Key"      // 1 to 256 bytes: do a transaction once, however often it is sent
	HeaderIdempotencyReplayed = "Idempotency-Replayed" // "true" on the stored answer of an earlier request
)

// Media types that the API sends.
const (
	TypeOctetStream = "application/octet-stream" // a value stored without a Content-Type
	TypeJSON        = "application/json"
	TypeNDJSON      = "application/x-ndjson" // a streamed listing
	TypeProblem     = "application/problem+json"
	TypeYAML        = "application/yaml"
	TypeEventStream = "text/event-stream" // a watch
)

// Query parameters of the kv routes.
const (
	QueryConsistency = "consistency"
	QueryTTL         = "ttl"
	QueryKeepTTL     = "keepttl"
	QueryPrefix      = "prefix"
	QueryStart       = "start"
	QueryEnd         = "end"
	QueryLimit       = "limit"
	QueryCursor      = "cursor"
	QueryKeysOnly    = "keys_only"
	QueryKey         = "key"
	QueryToken       = "token" // of the routes of locks
)

// Limits of version 1.
const (
	MaxKeyBytes          = 1024
	DefaultMaxValueBytes = 1 << 20 // a node may be configured otherwise
	MaxContentTypeBytes  = 256
	MaxListLimit         = 1000
	DefaultListLimit     = 100
	MinTTL               = time.Millisecond
	MaxTTL               = 87600 * time.Hour

	MaxTxnItems            = 1024    // conditions and operations of a transaction, both branches counted
	MaxTxnBytes            = 8 << 20 // its keys and values, decoded
	DefaultTxnTimeout      = 5 * time.Second
	MinTxnTimeout          = time.Millisecond
	MaxTxnTimeout          = time.Minute
	MaxIdempotencyKeyBytes = 256

	DefaultLockTTL    = 30 * time.Second
	MinLockTTL        = 100 * time.Millisecond
	MaxLockTTL        = 24 * time.Hour
	MaxLockWait       = 10 * time.Minute
	MaxLockOwnerBytes = 256
)

// Consistency says how fresh a read must be.
type Consistency string

const (
	// Linearizable reads see every write acknowledged before they were asked for. The default.
	Linearizable Consistency = "linearizable"
	// Stale reads are answered by the nearest replica as it stands.
	Stale Consistency = "stale"
)
