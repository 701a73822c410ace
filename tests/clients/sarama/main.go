// sarama 1.26.1 as a member of a mixed group, set up as the Go dispatcher sets it up: prints one JSON line for each thing
// that happens to it, and leaves in order when its input says "stop". What it marked is committed when a session ends. It also
// writes and reads messages.
//
//	sarama BOOTSTRAP TOPIC GROUP CLIENT_ID ASSIGNOR
//	sarama write BOOTSTRAP TOPIC CODEC,… < records   (a JSON list of {key, value, headers})
//	sarama read BOOTSTRAP TOPIC COUNT
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Shopify/sarama"
)

type member struct {
	topic string
	lock  sync.Mutex
	out   *json.Encoder
}

type fields map[string]any

func main() {
	switch os.Args[1] {
	case "write":
		written := write(strings.Split(os.Args[2], ","), os.Args[3], strings.Split(os.Args[4], ","))
		must(json.NewEncoder(os.Stdout).Encode(written))
	case "read":
		count, err := strconv.Atoi(os.Args[4])
		must(err)
		must(json.NewEncoder(os.Stdout).Encode(read(strings.Split(os.Args[2], ","), os.Args[3], count)))
	default:
		join()
	}
}

func join() {
	bootstrap, topic, group, client, assignor := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	if assignor != sarama.BalanceStrategyRange.Name() {
		panic("this version knows no " + assignor)
	}
	config := sarama.NewConfig()
	config.Version = sarama.V2_1_0_0
	config.ClientID = client
	config.Consumer.Group.Rebalance.Strategy = sarama.BalanceStrategyRange
	config.Consumer.Group.Session.Timeout = 30 * time.Second
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Return.Errors = true
	consumers, err := sarama.NewConsumerGroup(strings.Split(bootstrap, ","), group, config)
	must(err)
	go func() {
		// It goes on by itself after these, such as after a leader that does not know yet that it leads.
		for err := range consumers.Errors() {
			fmt.Fprintln(os.Stderr, err)
		}
	}()

	ctx, stop := context.WithCancel(context.Background())
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() && lines.Text() != "stop" {
		}
		stop()
	}()
	m := &member{topic: topic, out: json.NewEncoder(os.Stdout)}
	for ctx.Err() == nil {
		must(consumers.Consume(ctx, []string{topic}, m))
	}
	must(consumers.Close())
	m.tell(fields{"event": "left"})
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.tell(fields{"event": "assigned", "partitions": m.claims(session)})
	return nil
}

func (m *member) Cleanup(session sarama.ConsumerGroupSession) error {
	m.tell(fields{"event": "revoked", "partitions": m.claims(session)})
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.tell(fields{"event": "message", "partition": message.Partition, "offset": message.Offset})
		session.MarkMessage(message, "")
	}
	return nil
}

func (m *member) claims(session sarama.ConsumerGroupSession) []int32 {
	return append([]int32{}, session.Claims()[m.topic]...)
}

func (m *member) tell(line fields) {
	m.lock.Lock()
	defer m.lock.Unlock()
	must(m.out.Encode(line))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
