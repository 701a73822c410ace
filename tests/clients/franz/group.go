package main

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func join(bootstrap []string, topic, group string, options ...kgo.Opt) *kgo.Client {
	options = append(options, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.HeartbeatInterval(200*time.Millisecond), kgo.SessionTimeout(10*time.Second),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	return connect(bootstrap, options...)
}

// group has two members share a topic: the second joins while the first works, and leaves it alone again; then the group
// is restarted with one of them. franz-go's default balancer, cooperative-sticky, moves the partitions.
func group(ctx context.Context, bootstrap []string, topic, name string, count int) facts {
	producer := connect(bootstrap)
	defer producer.Close()
	observer := kadm.NewClient(producer)
	var values []int
	take := func(records []*kgo.Record) {
		for _, record := range records {
			values = append(values, number(string(record.Value)))
		}
	}
	all := func(count int) bool {
		sorted := slices.Sorted(slices.Values(values))
		return len(sorted) == count && sorted[0] == 0 && sorted[count-1] == count-1 && len(slices.Compact(sorted)) == count
	}
	result := facts{}

	send(ctx, producer, topic, 0, count)
	early := join(bootstrap, topic, name)
	for len(values) < count {
		take(poll(ctx, early))
	}
	must(early.CommitUncommittedOffsets(ctx))
	result["alone"] = shares(ctx, observer, name)

	late := join(bootstrap, topic, name)
	for shared := shares(ctx, observer, name); len(shared) != 2 || shared[0] == 0; shared = shares(ctx, observer, name) {
		take(poll(ctx, early))
		take(poll(ctx, late))
	}
	result["shared"] = shares(ctx, observer, name)
	send(ctx, producer, topic, count, 2*count)
	read := [2]int{}
	for len(values) < 2*count {
		for n, member := range []*kgo.Client{early, late} {
			records := poll(ctx, member)
			read[n] += len(records)
			take(records)
			must(member.CommitRecords(ctx, records...))
		}
	}
	result["both read"] = read[0] > 0 && read[1] > 0
	result["lag of both"] = lag(ctx, observer, name)

	late.Close()
	for len(shares(ctx, observer, name)) != 1 {
		take(poll(ctx, early))
	}
	send(ctx, producer, topic, 2*count, 3*count)
	for len(values) < 3*count {
		take(poll(ctx, early))
	}
	result["lag before the last commit"] = lag(ctx, observer, name)
	must(early.CommitUncommittedOffsets(ctx))
	result["lag after it"] = lag(ctx, observer, name)
	early.Close()
	result["once"] = all(3 * count)

	send(ctx, producer, topic, 3*count, 3*count+1)
	again := join(bootstrap, topic, name)
	for len(values) < 3*count+1 {
		take(poll(ctx, again))
	}
	take(poll(ctx, again))
	again.Close()
	result["continued at the commit"] = all(3*count + 1)
	return result
}

// shares is how many partitions each member has, fewest first; none while the group rebalances.
func shares(ctx context.Context, observer *kadm.Client, name string) []int {
	groups, err := observer.DescribeGroups(ctx, name)
	must(err)
	must(groups.Error())
	counts := []int{}
	if groups[name].State != "Stable" {
		return counts
	}
	for _, member := range groups[name].Members {
		assigned, _ := member.Assigned.AsConsumer()
		count := 0
		for _, topic := range assigned.Topics {
			count += len(topic.Partitions)
		}
		counts = append(counts, count)
	}
	slices.Sort(counts)
	return counts
}

func lag(ctx context.Context, observer *kadm.Client, name string) int64 {
	lags, err := observer.Lag(ctx, name)
	must(err)
	must(lags.Error())
	return lags[name].Lag.Total()
}

// transform moves a topic to another in transactions that hold the offsets too; every third of them is aborted and done
// again. What a committed reader then sees is each value once.
func transform(ctx context.Context, bootstrap []string, topic, output, name string, count int) facts {
	producer := connect(bootstrap)
	defer producer.Close()
	send(ctx, producer, topic, 0, count)
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(bootstrap...), kgo.TransactionalID(output+"-mover"),
		kgo.ConsumerGroup(name), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.FetchMaxWait(200*time.Millisecond), kgo.RequireStableFetchOffsets())
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
