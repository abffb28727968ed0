//! Headers between JSON and AMQP's field tables.

use amqprs::{FieldArray, FieldName, FieldTable, FieldValue};
use postroad_transport::PublishError;
use serde_json::{Map, Number, Value};

use crate::settings::MAX_SHORT_TEXT;

/// JSON is read to a depth of 128. Deeper tables become a text that says so.
const MAX_DEPTH: usize = 100;

const TOO_DEEP: &str = "(nested too deep)";

/// The headers as AMQP has them, with their size on the wire. Unsigned numbers beyond `i64` become floating.
pub(crate) fn to_table(headers: &Map<String, Value>) -> Result<(FieldTable, usize), PublishError> {
    let mut table = FieldTable::new();
    let mut size = 4;
    for (key, value) in headers {
        let name = FieldName::try_from(key.as_str()).map_err(|_| too_long(key))?;
        let (value, bytes) = to_field(value)?;
        table.insert(name, value);
        size += 1 + key.len() + bytes;
    }
    Ok((table, size))
}

/// One value and its size, with the byte that tells its type.
fn to_field(value: &Value) -> Result<(FieldValue, usize), PublishError> {
    Ok(match value {
        Value::Null => (FieldValue::V, 1),
        Value::Bool(value) => (FieldValue::t(*value), 2),
        Value::Number(number) => match number.as_i64() {
            Some(value) => (FieldValue::l(value), 9),
            None => (FieldValue::d(number.as_f64().unwrap_or(f64::NAN)), 9),
        },
        Value::String(text) => {
            (FieldValue::S(text.as_str().try_into().map_err(|_| too_large())?), 5 + text.len())
        }
        Value::Array(values) => {
            let values = values.iter().map(to_field).collect::<Result<Vec<_>, _>>()?;
            let size = values.iter().map(|(_, bytes)| bytes).sum::<usize>();
            let fields: Vec<_> = values.into_iter().map(|(field, _)| field).collect();
            (FieldValue::A(FieldArray::try_from(fields).map_err(|_| too_large())?), 5 + size)
        }
        Value::Object(members) => {
            let (table, size) = to_table(members)?;
            (FieldValue::F(table), 1 + size)
        }
    })
}

/// How large a table is on the wire.
pub(crate) fn table_size(table: &FieldTable) -> usize {
    let members = table.as_ref().iter();
    4 + members.map(|(name, value)| 1 + name.as_ref().len() + field_size(value)).sum::<usize>()
}

fn field_size(value: &FieldValue) -> usize {
    1 + match value {
        FieldValue::V => 0,
        FieldValue::t(_) | FieldValue::b(_) | FieldValue::B(_) => 1,
        FieldValue::s(_) | FieldValue::u(_) => 2,
        FieldValue::I(_) | FieldValue::i(_) | FieldValue::f(_) => 4,
        FieldValue::D(_) => 5,
        FieldValue::l(_) | FieldValue::T(_) | FieldValue::d(_) => 8,
        FieldValue::S(text) => 4 + text.as_ref().len(),
        FieldValue::x(bytes) => 4 + Vec::<u8>::from(bytes.clone()).len(),
        FieldValue::F(table) => table_size(table),
        FieldValue::A(array) => {
            let values: Vec<FieldValue> = array.clone().into();
            4 + values.iter().map(field_size).sum::<usize>()
        }
    }
}

fn too_long(key: &str) -> PublishError {
    PublishError::Unsendable(format!(
        "a header's name has {} bytes, AMQP takes at most {MAX_SHORT_TEXT}",
        key.len()
    ))
}

fn too_large() -> PublishError {
    PublishError::Unsendable("a header is larger than AMQP can carry".to_owned())
}

/// The headers as JSON: times are seconds since the epoch, bytes are text where they are UTF-8 and `{"hex": ".."}`
/// where not, numbers that JSON does not have are texts.
pub(crate) fn from_table(table: &FieldTable) -> Map<String, Value> {
    members(table, 1)
}

fn members(table: &FieldTable, depth: usize) -> Map<String, Value> {
    table
        .as_ref()
        .iter()
        .map(|(name, value)| (name.as_ref().clone(), from_field(value, depth)))
        .collect()
}

fn from_field(value: &FieldValue, depth: usize) -> Value {
    match value {
        FieldValue::F(_) | FieldValue::A(_) if depth >= MAX_DEPTH => TOO_DEEP.into(),
        FieldValue::t(value) => (*value).into(),
        FieldValue::b(value) => (*value).into(),
        FieldValue::B(value) => (*value).into(),
        FieldValue::s(value) => (*value).into(),
        FieldValue::u(value) => (*value).into(),
        FieldValue::I(value) => (*value).into(),
        FieldValue::i(value) => (*value).into(),
        FieldValue::l(value) => (*value).into(),
        FieldValue::T(value) => (*value).into(),
        FieldValue::f(value) => float(f64::from(*value)),
        FieldValue::d(value) => float(*value),
        FieldValue::D(value) => value.to_string().into(),
        FieldValue::S(text) => text.as_ref().clone().into(),
        FieldValue::x(bytes) => from_bytes(bytes.clone().into()),
        FieldValue::V => Value::Null,
        FieldValue::F(table) => members(table, depth + 1).into(),
        FieldValue::A(array) => {
            let values: Vec<FieldValue> = array.clone().into();
            values.iter().map(|value| from_field(value, depth + 1)).collect()
        }
    }
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)
}

fn from_bytes(bytes: Vec<u8>) -> Value {
    match String::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(error) => {
            let hex =
                error.as_bytes().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            serde_json::json!({ "hex": hex })
        }
    }
}

#[cfg(test)]
mod tests {
    use amqprs::{ByteArray, DecimalValue};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_from(field: &FieldValue, expected: &Value) {
        assert_eq!(&from_field(field, 0), expected);
    }

    #[test]
    fn every_field_type_has_a_json_form() {
        check_from(&FieldValue::b(-1), &json!(-1));
        check_from(&FieldValue::B(255), &json!(255));
        check_from(&FieldValue::s(-300), &json!(-300));
        check_from(&FieldValue::u(65_535), &json!(65_535));
        check_from(&FieldValue::I(i32::MIN), &json!(i32::MIN));
        check_from(&FieldValue::i(u32::MAX), &json!(u32::MAX));
        check_from(&FieldValue::f(0.5), &json!(0.5));
        check_from(&FieldValue::T(1_700_000_000), &json!(1_700_000_000));
        check_from(&FieldValue::D(DecimalValue::new(2, 314)), &json!("Decimal(2, 314)"));
        check_from(&FieldValue::d(f64::NAN), &json!("NaN"));
        check_from(&FieldValue::x(ByteArray::try_from(b"text".to_vec()).unwrap()), &json!("text"));
        check_from(
            &FieldValue::x(ByteArray::try_from(vec![0, 0xff]).unwrap()),
            &json!({ "hex": "00ff" }),
        );
    }

    #[test]
    fn a_name_of_256_bytes_is_unsendable_at_any_depth() {
        let key = "k".repeat(256);
        for headers in [json!({ &key: 1 }), json!({ "a": [{ &key: 1 }] })] {
            let outcome = to_table(headers.as_object().unwrap());
            assert!(matches!(outcome, Err(PublishError::Unsendable(_))), "{outcome:?}");
        }
    }

    #[test]
    fn tables_deeper_than_json_is_read_are_cut() {
        let mut field = FieldValue::V;
        for _ in 0..200 {
            let mut table = FieldTable::new();
            table.insert("a".try_into().unwrap(), field);
            field = FieldValue::F(table);
        }
        let text = from_field(&field, 1).to_string();
        assert!(text.contains(TOO_DEEP));
        assert!(serde_json::from_str::<Value>(&text).is_ok());
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9).prop_map(|number: f64| Value::from(number)),
            ".{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(".{0,20}", inner, 0..6)
                    .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_headers_come_back_as_they_went(headers in proptest::collection::btree_map(".{0,20}", json_value(), 0..6)) {
            let headers: Map<String, Value> = headers.into_iter().collect();
            let (table, size) = to_table(&headers).unwrap();
            prop_assert_eq!(table_size(&table), size);
            prop_assert_eq!(from_table(&table), headers);
        }
    }
}
