package main

import (
	"context"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// transform moves a topic to another in transactions that hold the offsets too; every third of them is aborted and done
// again. What a committed reader then sees is each value once.
func transform(ctx context.Context, bootstrap []string, topic, output, name string, count int) facts {
	producer := connect(bootstrap)
	defer producer.Close()
	send(ctx, producer, topic, 0, count)
	session, err := kgo.NewGroupTransactSession(append(quick(bootstrap), kgo.TransactionalID(output+"-mover"),
		kgo.ConsumerGroup(name), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.RequireStableFetchOffsets())...)
	must(err)
	moved, aborted, number := 0, 0, 0
	for ; moved < count; number++ {
		if ctx.Err() != nil {
			panic("took too long")
		}
		fetches := session.PollRecords(ctx, count/10)
		for _, problem := range fetches.Errors() {
			panic(problem.Err)
		}
		must(session.Begin())
		fetches.EachRecord(func(record *kgo.Record) {
			value := append([]byte("moved "), record.Value...)
			session.Produce(ctx, &kgo.Record{Topic: output, Key: record.Key, Value: value}, nil)
		})
		// Written before it is known whether it counts.
		must(session.Client().Flush(ctx))
		committed, err := session.End(ctx, kgo.TransactionEndTry(number%3 != 1))
		must(err)
		if committed {
			moved += fetches.NumRecords()
		} else {
			aborted++
		}
	}
	session.Close()

	seen := map[string]map[string]int{}
	for name, isolation := range map[string]kgo.IsolationLevel{
		"committed": kgo.ReadCommitted(), "uncommitted": kgo.ReadUncommitted(),
	} {
		seen[name] = everything(ctx, bootstrap, output, isolation)
	}
	once := len(seen["committed"]) == count
	for n := range count {
		once = once && seen["committed"]["moved "+strconv.Itoa(n)] == 1
	}
	twice := 0
	for _, times := range seen["uncommitted"] {
		if times > 1 {
			twice++
		}
	}
	return facts{
		"moved": moved, "some were aborted": aborted > 0, "once": once, "aborted are in the log": twice > 0,
		"lag": lag(ctx, kadm.NewClient(producer), name),
	}
}

// everything counts the values up to the end that an admin client sees at this isolation level.
func everything(ctx context.Context, bootstrap []string, topic string, isolation kgo.IsolationLevel) map[string]int {
	start := kgo.NewOffset().AtStart()
	client := connect(bootstrap, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(start), kgo.FetchIsolationLevel(isolation),
		kgo.KeepControlRecords())
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	must(err)
	must(ends.Error())
	left := map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			left[end.Partition] = end.Offset
		}
	})
	counts := map[string]int{}
	for len(left) > 0 {
		for _, record := range poll(ctx, client) {
			if record.Offset+1 >= left[record.Partition] {
				delete(left, record.Partition)
			}
			if !record.Attrs.IsControl() {
				counts[string(record.Value)]++
			}
		}
	}
	return counts
}
