package main

import (
	"encoding/json"
	"os"
	"time"

	"github.com/Shopify/sarama"
)

// record is a message as all of this test's clients write it down: UTF-8 or null, headers in their order.
type record struct {
	Key     *string      `json:"key"`
	Value   *string      `json:"value"`
	Headers [][2]*string `json:"headers"`
}

var codecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

// write has the codecs take turns; each record has a batch of its own.
func write(bootstrap []string, topic string, names []string) int {
	var records []record
	must(json.NewDecoder(os.Stdin).Decode(&records))
	var producers []sarama.SyncProducer
	for _, name := range names {
		config := sarama.NewConfig()
		config.Version = sarama.V2_1_0_0
		config.Producer.Compression = codecs[name]
		config.Producer.RequiredAcks = sarama.WaitForAll
		config.Producer.Return.Successes = true
		config.Producer.Partitioner = sarama.NewManualPartitioner
		producer, err := sarama.NewSyncProducer(bootstrap, config)
		must(err)
		defer producer.Close()
		producers = append(producers, producer)
	}
	for n, from := range records {
		to := &sarama.ProducerMessage{Topic: topic, Key: encoder(from.Key), Value: encoder(from.Value)}
		for _, header := range from.Headers {
			to.Headers = append(to.Headers, sarama.RecordHeader{Key: []byte(*header[0]), Value: bytes(header[1])})
		}
		_, _, err := producers[n%len(producers)].SendMessage(to)
		must(err)
	}
	return len(records)
}

func read(bootstrap []string, topic string, count int) []record {
	config := sarama.NewConfig()
	config.Version = sarama.V2_1_0_0
	consumer, err := sarama.NewConsumer(bootstrap, config)
	must(err)
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	must(err)
	defer partition.Close()
	rows, limit := []record{}, time.After(30*time.Second)
	for len(rows) < count {
		select {
		case from := <-partition.Messages():
			row := record{Key: text(from.Key), Value: text(from.Value), Headers: [][2]*string{}}
			for _, header := range from.Headers {
				row.Headers = append(row.Headers, [2]*string{text(header.Key), text(header.Value)})
			}
			rows = append(rows, row)
		case <-limit:
			panic("took too long")
		}
	}
	return rows
}

// encoder keeps null apart from empty.
func encoder(from *string) sarama.Encoder {
	if from == nil {
		return nil
	}
	return sarama.ByteEncoder(*from)
}

func bytes(from *string) []byte {
	if from == nil {
		return nil
	}
	return []byte(*from)
}

func text(from []byte) *string {
	if from == nil {
		return nil
	}
	to := string(from)
	return &to
}
