// franz-go as one of the clients that no one here wrote. Each command does one round trip and prints one JSON value: what
// franz-go saw. The test judges it; nothing here knows what broker it talks to.
//
//	franz write BOOTSTRAP TOPIC PARTITION CODEC,… < records   (a JSON list of {key, value, headers})
//	franz read BOOTSTRAP TOPIC PARTITION COUNT
//	franz group BOOTSTRAP TOPIC GROUP COUNT
//	franz admin BOOTSTRAP TOPIC GROUP
//	franz transform BOOTSTRAP TOPIC OUTPUT GROUP COUNT
//	franz storm BOOTSTRAP TOPIC GROUP BALANCER PARTITIONS MEMBERS < schedule   (a JSON list of {at_ms, member})
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const limit = 30 * time.Second

// record is a message as all of this test's clients write it down: UTF-8 or null, headers in their order.
type record struct {
	Key     *string      `json:"key"`
	Value   *string      `json:"value"`
	Headers [][2]*string `json:"headers"`
}

type facts map[string]any

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*limit)
	defer cancel()
	command, bootstrap, args := os.Args[1], strings.Split(os.Args[2], ","), os.Args[3:]
	var result any
	switch command {
	case "write":
		result = write(ctx, bootstrap, args[0], number(args[1]), strings.Split(args[2], ","))
	case "read":
		result = read(ctx, bootstrap, args[0], number(args[1]), number(args[2]))
	case "group":
		result = group(ctx, bootstrap, args[0], args[1], number(args[2]))
	case "admin":
		result = admin(ctx, bootstrap, args[0], args[1])
	case "transform":
		result = transform(ctx, bootstrap, args[0], args[1], args[2], number(args[3]))
	case "storm":
		// As long as the test's schedule, and no longer than the test.
		ctx, cancel := context.WithTimeout(context.Background(), 4*limit)
		defer cancel()
		result = storm(ctx, bootstrap, args[0], args[1], args[2], number(args[3]), number(args[4]))
	default:
		panic("no such command: " + command)
	}
	must(json.NewEncoder(os.Stdout).Encode(result))
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// write has the codecs take turns; each record has a batch of its own.
func write(ctx context.Context, bootstrap []string, topic string, partition int, names []string) int {
	var records []record
	must(json.NewDecoder(os.Stdin).Decode(&records))
	var clients []*kgo.Client
	for _, name := range names {
		codec := kgo.ProducerBatchCompression(codecs[name])
		options := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()), codec}
		client := connect(bootstrap, options...)
		defer client.Close()
		clients = append(clients, client)
	}
	for n, from := range records {
		to := &kgo.Record{Topic: topic, Partition: int32(partition), Key: bytes(from.Key), Value: bytes(from.Value)}
		for _, header := range from.Headers {
			to.Headers = append(to.Headers, kgo.RecordHeader{Key: *header[0], Value: bytes(header[1])})
		}
		must(clients[n%len(clients)].ProduceSync(ctx, to).FirstErr())
	}
	return len(records)
}

func read(ctx context.Context, bootstrap []string, topic string, partition, count int) []record {
	start := map[string]map[int32]kgo.Offset{topic: {int32(partition): kgo.NewOffset().AtStart()}}
	client := connect(bootstrap, kgo.ConsumePartitions(start))
	defer client.Close()
	rows := []record{}
	for len(rows) < count {
		for _, from := range poll(ctx, client) {
			row := record{Key: text(from.Key), Value: text(from.Value), Headers: [][2]*string{}}
			for _, header := range from.Headers {
				row.Headers = append(row.Headers, [2]*string{&header.Key, text(header.Value)})
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func connect(bootstrap []string, options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(options, quick(bootstrap)...)...)
	must(err)
	return client
}

// quick has tests not wait: a new topic is looked for again at once, not after 5 s.
func quick(bootstrap []string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(bootstrap...), kgo.FetchMaxWait(200 * time.Millisecond), kgo.MetadataMinAge(100 * time.Millisecond),
	}
}

// poll gives what comes within a moment; its errors end the program, a moment without records does not.
func poll(ctx context.Context, client *kgo.Client) []*kgo.Record {
	if ctx.Err() != nil {
		panic("took too long")
	}
	moment, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	fetches := client.PollFetches(moment)
	for _, problem := range fetches.Errors() {
		if moment.Err() == nil {
			panic(fmt.Sprint(problem.Topic, "/", problem.Partition, ": ", problem.Err))
		}
	}
	return fetches.Records()
}

// send has the client choose partitions by key, and waits for every acknowledgement.
func send(ctx context.Context, client *kgo.Client, topic string, from, to int) {
	var records []*kgo.Record
	for n := from; n < to; n++ {
		key, value := []byte("k"+strconv.Itoa(n%50)), []byte(strconv.Itoa(n))
		records = append(records, &kgo.Record{Topic: topic, Key: key, Value: value})
	}
	must(client.ProduceSync(ctx, records...).FirstErr())
}

func bytes(text *string) []byte {
	if text == nil {
		return nil
	}
	return append([]byte{}, *text...)
}

func text(bytes []byte) *string {
	if bytes == nil {
		return nil
	}
	text := string(bytes)
	return &text
}

func number(text string) int {
	number, err := strconv.Atoi(text)
	must(err)
	return number
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
