package notify

import (
	"github.com/chainmetrics/chainmetrics/events"
	"github.com/chainmetrics/chainmetrics/functions/notify/message"
	"github.com/chainmetrics/chainmetrics/shared/metric"
	"github.com/chainmetrics/chainmetrics/shared/postgres"
)

// none is in the place of a channel where nobody is told.
const none = "none"

// ways gives who is told of an event, and how: at least one way, which may say why nobody is. docs/notifications.md has the table.
func ways(e message.Event, alerting metric.Alerting, channels []Channel) []postgres.Way {
	silent := func(why string) []postgres.Way { return []postgres.Way{{Channel: none, Silent: why}} }
	if len(channels) == 0 {
		return silent("no channel is configured")
	}
	var all []postgres.Way
	for _, channel := range channels {
		mailed := channel.Name() == message.Mail
		named := alerting.Email
		switch kind := e.Kind(); {
		case kind == message.DeadLetter, kind == events.TypeBucketDrifted: // the operators' business, whoever owns the metric
			named = nil
		case kind == events.TypeRunRetried && !alerting.EmailOnRetry:
			continue
		case kind != events.TypeRunRetried && mailed && !alerting.MailsFailures():
			continue
		}
		for _, recipient := range channel.Recipients(named) {
			all = append(all, postgres.Way{Channel: channel.Name(), Recipient: recipient, About: e.About()})
		}
	}
	if len(all) == 0 {
		return silent("the metric's definition does not ask for it")
	}
	return all
}
