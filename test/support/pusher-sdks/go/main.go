// Calls Pusher's SDK for Go: a call as JSON on each line of stdin, its outcome on a line of stdout.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/pusher/pusher-http-go/v5"
)

type event struct {
	Channel  string  `json:"channel"`
	Name     string  `json:"name"`
	Data     any     `json:"data"`
	SocketID *string `json:"socket_id"`
	Info     *string `json:"info"`
}

type member struct {
	UserID   string            `json:"user_id"`
	UserInfo map[string]string `json:"user_info"`
}

type call struct {
	Call     string          `json:"call"`
	AppID    string          `json:"appId"`
	Secret   string          `json:"secret"`
	Channel  string          `json:"channel"`
	Channels []string        `json:"channels"`
	Event    string          `json:"event"`
	Data     any             `json:"data"`
	SocketID *string         `json:"socketId"`
	Info     *string         `json:"info"`
	Prefix   *string         `json:"prefix"`
	Events   []event         `json:"events"`
	User     json.RawMessage `json:"user"`
	Member   *member         `json:"member"`
}

func clientFor(asked call) *pusher.Client {
	client := &pusher.Client{
		AppID:                     os.Getenv("PUSHER_APP_ID"),
		Key:                       os.Getenv("PUSHER_KEY"),
		Secret:                    os.Getenv("PUSHER_SECRET"),
		Host:                      os.Getenv("PUSHER_HOST") + ":" + os.Getenv("PUSHER_PORT"),
		HTTPClient:                &http.Client{},
		EncryptionMasterKeyBase64: os.Getenv("PUSHER_MASTER_KEY"),
	}
	if asked.AppID != "" {
		client.AppID = asked.AppID
	}
	if asked.Secret != "" {
		client.Secret = asked.Secret
	}
	return client
}

func (asked call) user() (id string) {
	_ = json.Unmarshal(asked.User, &id)
	return id
}

func parsed(answer []byte, err error) (any, error) {
	return json.RawMessage(answer), err
}

func run(asked call) (any, error) {
	client := clientFor(asked)
	switch asked.Call {
	case "trigger":
		if asked.Info == nil && asked.SocketID == nil {
			if len(asked.Channels) == 1 {
				return struct{}{}, client.Trigger(asked.Channels[0], asked.Event, asked.Data)
			}
			return struct{}{}, client.TriggerMulti(asked.Channels, asked.Event, asked.Data)
		}
		params := pusher.TriggerParams{SocketID: asked.SocketID, Info: asked.Info}
		if len(asked.Channels) == 1 {
			return client.TriggerWithParams(asked.Channels[0], asked.Event, asked.Data, params)
		}
		return client.TriggerMultiWithParams(asked.Channels, asked.Event, asked.Data, params)
	case "batch":
		batch := make([]pusher.Event, len(asked.Events))
		for i, each := range asked.Events {
			batch[i] = pusher.Event(each)
		}
		return client.TriggerBatch(batch)
	case "channels":
		return client.Channels(pusher.ChannelsParams{FilterByPrefix: asked.Prefix, Info: asked.Info})
	case "channel":
		return client.Channel(asked.Channel, pusher.ChannelParams{Info: asked.Info})
	case "users":
		return client.GetChannelUsers(asked.Channel)
	case "sendToUser":
		return struct{}{}, client.SendToUser(asked.user(), asked.Event, asked.Data)
	case "authorize":
		form := url.Values{"channel_name": {asked.Channel}, "socket_id": {*asked.SocketID}}
		if asked.Member == nil {
			return parsed(client.AuthorizePrivateChannel([]byte(form.Encode())))
		}
		return parsed(client.AuthorizePresenceChannel([]byte(form.Encode()), pusher.MemberData(*asked.Member)))
	case "authenticate":
		var data map[string]any
		if err := json.Unmarshal(asked.User, &data); err != nil {
			return nil, err
		}
		form := url.Values{"socket_id": {*asked.SocketID}}
		return parsed(client.AuthenticateUser([]byte(form.Encode()), data))
	}
	return nil, fmt.Errorf("there is no call %q", asked.Call)
}

func main() {
	calls := bufio.NewScanner(os.Stdin)
	calls.Buffer(nil, 1<<20)
	outcomes := json.NewEncoder(os.Stdout)
	for calls.Scan() {
		var asked call
		outcome := map[string]any{}
		err := json.Unmarshal(calls.Bytes(), &asked)
		var value any
		if err == nil {
			value, err = run(asked)
		}
		if err == nil {
			outcome["value"] = value
		} else {
			outcome["error"] = err.Error()
		}
		if err := outcomes.Encode(outcome); err != nil {
			panic(err)
		}
	}
}
