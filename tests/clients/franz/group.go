package main

import (
	"context"
	"slices"
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
