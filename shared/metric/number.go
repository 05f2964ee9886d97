package metric

import (
	"encoding/json"
	"fmt"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/chainmetrics/chainmetrics/shared/decimal"
)

// decimalType is the only type of numbers in expressions, apart from the places of elements in lists.
var decimalType = cel.OpaqueType("decimal")

// number is a decimal as a value of CEL.
type number struct {
	decimal.Decimal
}

var _ ref.Val = number{}

// ConvertToNative gives the decimal itself.
func (n number) ConvertToNative(wanted reflect.Type) (any, error) {
	if wanted == reflect.TypeFor[decimal.Decimal]() {
		return n.Decimal, nil
	}
	return nil, fmt.Errorf("a decimal is no %s", wanted)
}

// ConvertToType knows the number's own type and the type of types.
func (n number) ConvertToType(wanted ref.Type) ref.Val {
	switch wanted {
	case decimalType:
		return n
	case types.TypeType:
		return decimalType
	}
	return types.NewErr("a decimal is no %s", wanted.TypeName())
}

// Equal tells whether other is the same number.
func (n number) Equal(other ref.Val) ref.Val {
	o, ok := other.(number)
	return types.Bool(ok && n.Decimal.Equal(o.Decimal))
}

// Type is decimal.
func (n number) Type() ref.Type { return decimalType }

// Value gives the decimal itself.
func (n number) Value() any { return n.Decimal }

// adapter makes values of CEL out of what JSON holds, each when an expression reaches it.
type adapter struct{}

var _ types.Adapter = adapter{}

// NativeToValue gives numbers as decimals.
func (a adapter) NativeToValue(native any) ref.Val {
	switch v := native.(type) {
	case ref.Val:
		return v
	case json.Number:
		d, err := decimal.Parse(v.String())
		if err != nil { // never in an event that was read: its numbers are within the bounds
			return types.WrapErr(errNumberRange)
		}
		return number{d}
	case string:
		return types.String(v)
	case bool:
		return types.Bool(v)
	case nil:
		return types.NullValue
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	case []ref.Val:
		return types.NewRefValList(a, v)
	}
	return types.DefaultTypeAdapter.NativeToValue(native)
}
