//! The envelope around every reply, and the messages in it.

use serde_json::{Map, Value, json};

/// An error, or a remark on a reply that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// One of [`crate::code`], 1000 or more.
    pub code: u32,
    /// For people.
    pub message: String,
    /// JSON pointer (RFC 6901) into the body of the request.
    pub pointer: Option<String>,
}

impl Message {
    /// A message about the call as a whole.
    #[must_use]
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), pointer: None }
    }

    /// The same about a place in the body.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// As it stands in an envelope.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut value = json!({ "code": self.code, "message": self.message });
        if let (Some(pointer), Some(object)) = (&self.pointer, value.as_object_mut()) {
            object.insert("source".to_owned(), json!({ "pointer": pointer }));
        }
        value
    }
}

/// Which part of a list a reply holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultInfo {
    /// From 1. A page beyond the last is empty, by which SDKs know the end.
    pub page: u64,
    /// Rows of a full page, at least 1.
    pub per_page: u64,
    /// Rows of this page.
    pub count: u64,
    /// Rows of all pages.
    pub total_count: u64,
}

impl ResultInfo {
    /// Pages that have rows.
    #[must_use]
    pub fn total_pages(&self) -> u64 {
        self.total_count.div_ceil(self.per_page.max(1))
    }

    fn to_value(self) -> Value {
        json!({
            "page": self.page,
            "per_page": self.per_page,
            "count": self.count,
            "total_count": self.total_count,
            "total_pages": self.total_pages(),
        })
    }
}

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Whether the call did what it says.
    pub success: bool,
    /// Why it did not; empty exactly when it succeeded.
    pub errors: Vec<Message>,
    /// Remarks.
    pub messages: Vec<Message>,
    /// The object, the list, or null.
    pub result: Value,
    /// Set for lists that have pages.
    pub result_info: Option<ResultInfo>,
}

impl Envelope {
    /// A call that succeeded.
    #[must_use]
    pub fn success(result: Value) -> Self {
        let (errors, messages) = (Vec::new(), Vec::new());
        Self { success: true, errors, messages, result, result_info: None }
    }

    /// A call that failed, for at least one reason.
    #[must_use]
    pub fn failure(errors: Vec<Message>) -> Self {
        let (messages, result) = (Vec::new(), Value::Null);
        Self { success: false, errors, messages, result, result_info: None }
    }

    /// The HTTP status: that of the first error, or 200.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.errors.first().map_or(200, |error| crate::error::status(error.code))
    }

    /// As it is sent.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let list = |messages: &[Message]| messages.iter().map(Message::to_value).collect();
        let mut object = Map::new();
        object.insert("success".to_owned(), Value::Bool(self.success));
        object.insert("errors".to_owned(), Value::Array(list(&self.errors)));
        object.insert("messages".to_owned(), Value::Array(list(&self.messages)));
        object.insert("result".to_owned(), self.result.clone());
        if let Some(info) = self.result_info {
            object.insert("result_info".to_owned(), info.to_value());
        }
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::{Envelope, Message, ResultInfo};
    use crate::code;
    use serde_json::json;

    #[test]
    fn a_success_has_empty_lists_and_its_result() {
        let mut envelope = Envelope::success(json!([{"id": "a"}]));
        envelope.result_info =
            Some(ResultInfo { page: 2, per_page: 20, count: 1, total_count: 21 });
        envelope.messages.push(Message::new(code::NOT_IN_EFFECT, "later").at("/rules"));
        let expect = json!({
            "success": true,
            "errors": [],
            "messages": [
                {"code": 19000, "message": "later", "source": {"pointer": "/rules"}}
            ],
            "result": [{"id": "a"}],
            "result_info":
                {"page": 2, "per_page": 20, "count": 1, "total_count": 21, "total_pages": 2},
        });
        assert_eq!((envelope.to_value(), envelope.status()), (expect, 200));
    }

    #[test]
    fn a_failure_has_null_and_the_status_of_its_first_error() {
        let envelope = Envelope::failure(vec![Message::new(code::NO_ROUTE, "no route")]);
        let expect = json!({
            "success": false,
            "errors": [{"code": 7003, "message": "no route"}],
            "messages": [],
            "result": null,
        });
        assert_eq!((envelope.to_value(), envelope.status()), (expect, 404));
    }

    #[test]
    fn an_empty_list_has_no_pages() {
        let info = |total_count| ResultInfo { page: 1, per_page: 20, count: 0, total_count };
        let pages = [0, 1, 20, 21].map(|total| info(total).total_pages());
        assert_eq!(pages, [0, 1, 1, 2]);
    }
}
