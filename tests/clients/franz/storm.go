package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// change is something that happens to a member: it comes, or it goes if it is there.
type change struct {
	At     int `json:"at_ms"`
	Member int `json:"member"`
}

// storm has members come and go as the schedule on stdin says, and gives the milliseconds from the last change until the
// group is stable, every partition has one owner and it stays like this for a second.
func storm(ctx context.Context, bootstrap []string, topic, name, balancer string, partitions, members int) facts {
	var schedule []change
	must(json.NewDecoder(os.Stdin).Decode(&schedule))
	balancers := map[string]kgo.GroupBalancer{"range": kgo.RangeBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer()}
	running := make([]*kgo.Client, members)
	start := func(member int) {
		client := connect(bootstrap, kgo.ConsumerGroup(name), kgo.ConsumeTopics(topic), kgo.Balancers(balancers[balancer]),
			kgo.HeartbeatInterval(300*time.Millisecond), kgo.SessionTimeout(10*time.Second), kgo.AutoCommitInterval(time.Second),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		running[member] = client
		go func() {
			for !client.PollFetches(ctx).IsClientClosed() {
			}
		}()
	}
	count := func() int {
		count := 0
		for _, client := range running {
			if client != nil {
				count++
			}
		}
		return count
	}
	observing := connect(bootstrap)
	defer observing.Close()
	observer := kadm.NewClient(observing)
	for member := range members {
		start(member)
	}
	settle(ctx, observer, name, partitions, count())
	begun := time.Now()
	for _, change := range schedule {
		time.Sleep(time.Until(begun.Add(time.Duration(change.At) * time.Millisecond)))
		if client := running[change.Member]; client != nil {
			running[change.Member] = nil
			go client.Close()
		} else {
			start(change.Member)
		}
	}
	stable := settle(ctx, observer, name, partitions, count())
	for _, client := range running {
		if client != nil {
			client.Close()
		}
	}
	return facts{"stable_ms": stable.Milliseconds(), "members": count()}
}

func settle(ctx context.Context, observer *kadm.Client, name string, partitions, members int) time.Duration {
	from := time.Now()
	var since time.Time
	for {
		if ctx.Err() != nil {
			panic("took too long")
		}
		now := time.Now()
		if !settled(ctx, observer, name, partitions, members) {
			since = time.Time{}
		} else if since.IsZero() {
			since = now
		} else if now.Sub(since) > time.Second {
			return since.Sub(from)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func settled(ctx context.Context, observer *kadm.Client, name string, partitions, members int) bool {
	groups, err := observer.DescribeGroups(ctx, name)
	// A new broker has no coordinators yet.
	if err != nil || groups.Error() != nil || groups[name].State != "Stable" || len(groups[name].Members) != members {
		return false
	}
	owned, shares := map[int32]bool{}, 0
	for _, member := range groups[name].Members {
		assigned, _ := member.Assigned.AsConsumer()
		share := 0
		for _, topic := range assigned.Topics {
			for _, partition := range topic.Partitions {
				owned[partition] = true
				share++
			}
		}
		if share == 0 {
			return false
		}
		shares += share
	}
	return len(owned) == partitions && shares == partitions
}
