package oracle

import "fmt"

// start gives the beginning of the window that holds a time, by arithmetic on days, as RFC 3339 text.
func start(size string, seconds int64) string {
	day, second := floorDiv(seconds, 86_400)
	keep := int64(0)
	switch size {
	case "minutely":
		keep = second - second%60
	case "10-minutely":
		keep = second - second%600
	case "hourly":
		keep = second - second%3600
	case "daily":
	case "weekly":
		_, sinceMonday := floorDiv(day+3, 7) // 1970-01-01 was a Thursday
		day -= sinceMonday
	case "monthly":
		_, _, inMonth := civil(day)
		day -= inMonth - 1
	default:
		panic("no bucket size: " + size)
	}
	year, month, inMonth := civil(day)
	return fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", year, month, inMonth, keep/3600, keep/60%60, keep%60)
}

func floorDiv(n, by int64) (quotient, rest int64) {
	rest = (n%by + by) % by
	return (n - rest) / by, rest
}

// civil gives the date of a day counted from 1970-01-01 in the proleptic Gregorian calendar, by Howard Hinnant's
// civil_from_days: years begin in March, so that the leap day is the last one; 400 years have 146,097 days.
func civil(day int64) (year, month, inMonth int64) {
	era, ofEra := floorDiv(day+719_468, 146_097)
	yearOfEra := (ofEra - ofEra/1460 + ofEra/36_524 - ofEra/146_096) / 365
	ofYear := ofEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	shifted := (5*ofYear + 2) / 153 // months since March
	inMonth = ofYear - (153*shifted+2)/5 + 1
	month = shifted + 3
	if month > 12 {
		month -= 12
	}
	year = yearOfEra + era*400
	if month <= 2 {
		year++
	}
	return year, month, inMonth
}
