package query

import (
	"strconv"

	"github.com/labstack/echo/v4"
)

// answer is the series of a query of aggregates.
type answer struct {
	byDevice bool
	tags     []string // by which they are grouped
	series   []series
	settled  settled // of all devices asked, also those without a series
}

// send answers with the series.
func (s *Service) send(c echo.Context, q *aggregateQuery, a *answer) error {
	buffer := s.buffer()
	defer s.release(buffer)
	contentType, tag := typeJSON, ""
	if q.csv {
		contentType = typeCSV
		*buffer = appendSeriesCSV((*buffer)[:0], q, a)
		tag = etag(*buffer)
	} else {
		*buffer, tag = appendAnswer((*buffer)[:0], q, a)
	}
	return respond(c, contentType, tag, a.cache(q.plan), *buffer)
}

// cache says how long an answer may be kept: if even the range's last bucket is
// final, so are all, those that were left out as empty too.
func (a *answer) cache(p plan) string {
	if _, end := p.bucket(p.to - 1); end <= int64(a.settled) {
		return cacheFinal
	}
	return cacheNone
}

// appendAnswer appends the answer as JSON and returns the tag of its series.
func appendAnswer(dst []byte, q *aggregateQuery, a *answer) ([]byte, string) {
	dst = append(dst, `{"from":`...)
	dst = appendQuotedTime(dst, q.plan.from)
	dst = append(dst, `,"to":`...)
	dst = appendQuotedTime(dst, q.plan.to)
	dst = append(dst, `,"step":"`...)
	dst = append(dst, q.plan.step.String()...)
	dst = append(dst, `","tz":"UTC","series":`...)
	start := len(dst)
	dst = append(dst, '[')
	for i := range a.series {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendSeries(dst, q, a, &a.series[i])
	}
	dst = append(dst, ']')
	tag := etag(dst[start:])
	return append(dst, "}\n"...), tag
}

func appendSeries(dst []byte, q *aggregateQuery, a *answer, s *series) []byte {
	dst = append(dst, '{')
	if a.byDevice {
		dst = append(dst, `"deviceId":`...)
		dst = append(appendString(dst, s.device), ',')
	}
	if len(a.tags) > 0 {
		dst = append(dst, `"group":{`...)
		for i, key := range a.tags {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, key), ':')
			dst = appendLabel(dst, s.group[i])
		}
		dst = append(dst, "},"...)
	}
	dst = append(dst, `"metric":`...)
	dst = appendString(dst, s.metric)
	dst = append(dst, `,"buckets":[`...)
	for i := range s.buckets {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendBucket(dst, q, &s.buckets[i], s.settled)
	}
	return append(dst, "]}"...)
}

func appendLabel(dst []byte, l label) []byte {
	if l.absent {
		return append(dst, "null"...)
	}
	return appendString(dst, l.value)
}

func appendBucket(dst []byte, q *aggregateQuery, b *bucket, settled settled) []byte {
	dst = append(dst, `{"start":`...)
	dst = appendQuotedTime(dst, b.start)
	dst = append(dst, `,"end":`...)
	dst = appendQuotedTime(dst, b.end)
	dst = append(dst, `,"count":`...)
	dst = strconv.AppendInt(dst, b.Count, 10)
	for i := range q.aggregates {
		dst = append(dst, `,"`...)
		dst = append(dst, q.aggregates[i].name...)
		dst = append(dst, `":`...)
		dst = appendValue(dst, q.aggregates[i].result(b))
	}
	dst = append(dst, `,"final":`...)
	dst = strconv.AppendBool(dst, b.end <= int64(settled))
	return append(dst, '}')
}

// appendSeriesCSV appends the answer as CSV: what tells the series apart, the
// bucket, its values.
func appendSeriesCSV(dst []byte, q *aggregateQuery, a *answer) []byte {
	if a.byDevice {
		dst = append(dst, "deviceId,"...)
	}
	for _, key := range a.tags {
		dst = append(appendField(dst, "tag:"+key), ',')
	}
	dst = append(dst, "metric,start,end,count"...)
	for i := range q.aggregates {
		dst = append(append(dst, ','), q.aggregates[i].name...)
	}
	dst = append(dst, ",final"+endOfRecord...)
	for i := range a.series {
		for j := range a.series[i].buckets {
			dst = appendRecord(dst, q, a, &a.series[i], &a.series[i].buckets[j])
		}
	}
	return dst
}

func appendRecord(dst []byte, q *aggregateQuery, a *answer, s *series, b *bucket) []byte {
	if a.byDevice {
		dst = append(appendField(dst, s.device), ',')
	}
	for _, l := range s.group {
		if !l.absent {
			dst = appendField(dst, l.value)
		}
		dst = append(dst, ',')
	}
	dst = append(appendField(dst, s.metric), ',')
	dst = append(appendTime(dst, b.start), ',')
	dst = append(appendTime(dst, b.end), ',')
	dst = strconv.AppendInt(dst, b.Count, 10)
	for i := range q.aggregates {
		dst = appendCell(append(dst, ','), q.aggregates[i].result(b))
	}
	dst = strconv.AppendBool(append(dst, ','), b.end <= int64(s.settled))
	return append(dst, endOfRecord...)
}
