// The Go dispatcher's message as its encoding/json reads and writes it: for each value of a JSON list of base64 texts on
// stdin, what the struct holds after Unmarshal, and what Marshal makes of it. Unknown fields are an error here, so that a
// misspelt one cannot hide.
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"time"
)

// Message has the fields of the Go dispatcher's, in its order and with its types.
type Message struct {
	TaskID               string
	Topic                string
	Key                  string
	Value                []byte
	Partition            int32
	Offset               int64
	ConsumerGroupID      string
	ConsumerErrorStr     string
	ProducerSentTime     time.Time
	ConsumerReceivedTime time.Time
	ConsumerFinishTime   time.Time
	ProducerReceivedTime time.Time
	IsReplyMessage       bool
	IsSendError          bool
}

// row is what the test looks at; times are ms since 1970, null when unset.
type row struct {
	TaskID, Topic, Key                 string
	Value                              []byte
	Partition                          int32
	Offset                             int64
	Group, Error                       string
	Sent, Received, Finished, Returned *int64
	Reply, SendError                   bool
	Again                              []byte
}

func main() {
	var values [][]byte
	must(json.NewDecoder(os.Stdin).Decode(&values))
	rows := []row{}
	for _, value := range values {
		var m Message
		decoder := json.NewDecoder(bytes.NewReader(value))
		decoder.DisallowUnknownFields()
		must(decoder.Decode(&m))
		again, err := json.Marshal(&m)
		must(err)
		rows = append(rows, row{
			m.TaskID, m.Topic, m.Key, m.Value, m.Partition, m.Offset, m.ConsumerGroupID, m.ConsumerErrorStr,
			ms(m.ProducerSentTime), ms(m.ConsumerReceivedTime), ms(m.ConsumerFinishTime), ms(m.ProducerReceivedTime),
			m.IsReplyMessage, m.IsSendError, again,
		})
	}
	must(json.NewEncoder(os.Stdout).Encode(rows))
}

func ms(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	unix := t.UnixMilli()
	return &unix
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
