package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// admin takes a topic and a group through their whole lives with kadm.
func admin(ctx context.Context, bootstrap []string, topic, name string) facts {
	client := connect(bootstrap, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer client.Close()
	admin := kadm.NewClient(client)
	result := facts{}

	retention := "3600000"
	created, err := admin.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": &retention}, topic)
	must(err)
	result["partitions created"] = created.NumPartitions
	_, err = admin.CreateTopic(ctx, 2, 1, nil, topic)
	result["created twice"] = err == kerr.TopicAlreadyExists
	grown, err := admin.UpdatePartitions(ctx, 3, topic)
	must(err)
	must(grown.Error())
	eventually(ctx, func() bool {
		metadata, err := admin.Metadata(ctx, topic)
		must(err)
		led := 0
		for _, partition := range metadata.Topics[topic].Partitions {
			if partition.Err == nil && partition.Leader >= 0 {
				led++
			}
		}
		return led == 3
	})
	result["retention.ms"] = retentionOf(ctx, admin, topic)
	longer := "7200000"
	altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &longer}}, topic)
	must(err)
	must(altered[0].Err)
	eventually(ctx, func() bool { return retentionOf(ctx, admin, topic) == longer })

	for n := range 30 {
		value := &kgo.Record{Topic: topic, Partition: int32(n % 3), Value: []byte("v"), Timestamp: time.UnixMilli(int64(1000 + n))}
		must(client.ProduceSync(ctx, value).FirstErr())
	}
	committed := kadm.Offsets{}
	for partition := range int32(3) {
		committed.AddOffset(topic, partition, int64(partition), -1)
	}
	must(admin.CommitAllOffsets(ctx, name, committed))
	result["lag"] = lag(ctx, admin, name)
	groups, err := admin.ListGroups(ctx)
	must(err)
	result["group state"] = groups[name].State
	from, err := admin.ListOffsetsAfterMilli(ctx, 1015, topic)
	must(err)
	offset, _ := from.Lookup(topic, 0)
	result["offset after a time"] = offset.Offset
	upto := kadm.Offsets{}
	upto.AddOffset(topic, 0, 4, -1)
	shortened, err := admin.DeleteRecords(ctx, upto)
	must(err)
	must(shortened.Error())
	starts, err := admin.ListStartOffsets(ctx, topic)
	must(err)
	offset, _ = starts.Lookup(topic, 0)
	result["log start"] = offset.Offset
	producers, err := admin.DescribeProducers(ctx, func() kadm.TopicsSet {
		set := kadm.TopicsSet{}
		set.Add(topic, 0)
		return set
	}())
	must(err)
	result["producers"] = len(producers[topic].Partitions[0].ActiveProducers)
	forgotten := kadm.TopicsSet{}
	forgotten.Add(topic, 2)
	deleted, err := admin.DeleteOffsets(ctx, name, forgotten)
	must(err)
	must(deleted.Error())
	left, err := admin.FetchOffsets(ctx, name)
	must(err)
	result["offsets left"] = len(left[topic])
	_, err = admin.DeleteGroup(ctx, name)
	must(err)
	groups, err = admin.ListGroups(ctx)
	must(err)
	_, listed := groups[name]
	result["group deleted"] = !listed
	_, err = admin.DeleteTopic(ctx, topic)
	must(err)
	eventually(ctx, func() bool {
		topics, err := admin.ListTopics(ctx)
		must(err)
		return !topics.Has(topic)
	})
	return result
}

func retentionOf(ctx context.Context, admin *kadm.Client, topic string) string {
	configs, err := admin.DescribeTopicConfigs(ctx, topic)
	must(err)
	config, err := configs.On(topic, nil)
	must(err)
	must(config.Err)
	for _, entry := range config.Configs {
		if entry.Key == "retention.ms" {
			return entry.MaybeValue()
		}
	}
	return "none"
}

// eventually waits for what a broker may learn later than the controller.
func eventually(ctx context.Context, holds func() bool) {
	for !holds() {
		if ctx.Err() != nil {
			panic("took too long")
		}
		time.Sleep(20 * time.Millisecond)
	}
}
