//! The user whom a token speaks for, and whether the token is good.

use super::collection::{self, Object};
use crate::rest::lifecycle::Call;
use crate::rest::reply::{Refusal, Reply};
use crate::rest::token::Token;
use crate::store::{Key, State};
use control_api::{Message, Method, account::USER, code, time};
use serde_json::{Value, json};

/// Does what a call asks of the user.
pub(crate) async fn handle(call: &Call<'_>) -> Result<Reply, Refusal> {
    let caller = call.caller()?;
    let key = Key::of(&["users", &caller.token.user]).map_err(|_| Refusal::not_found())?;
    if call.route.operation.method == Method::Get {
        let state = call.site.keeper.state();
        return Ok(Reply::of(shown(&state, &caller.token, &stored(&state, &key))));
    }
    let (user, _) = collection::edit(call, |draft| {
        let new = USER.merge(&stored(draft, &key), &call.body).map_err(Refusal::all)?;
        draft.put(key.clone(), Value::Object(new.clone()));
        Ok(shown(draft, &caller.token, &new))
    })
    .await?;
    Ok(Reply::of(user))
}

/// What the user said of itself.
fn stored(state: &State, key: &Key) -> Object {
    let stored = state.get(key).and_then(|stored| stored.value.as_object().cloned());
    stored.unwrap_or_default()
}

fn shown(state: &State, token: &Token, said: &Object) -> Value {
    let mut user = said.clone();
    let accounts = Key::new("accounts").map(|folder| state.children(&folder)).unwrap_or_default();
    let own = accounts.into_iter().filter(|(key, _)| token.accounts.covers(key.id()));
    let permission = if token.edit { "#edit" } else { "#read" };
    let organizations = own.map(|(key, stored)| {
        json!({
            "id": key.id(), "name": stored.value.get("name"), "status": "member",
            "permissions": [permission], "roles": [],
        })
    });
    let organizations: Vec<Value> = organizations.collect();
    user.insert("organizations".to_owned(), json!(organizations));
    user.insert("id".to_owned(), json!(token.user));
    user.insert("email".to_owned(), json!(token.email));
    // Cloudflare's Rust client cannot do without these three.
    user.insert("username".to_owned(), json!(token.email));
    let since = json!(time::timestamp(token.created_us));
    user.insert("created_on".to_owned(), since.clone());
    user.insert("modified_on".to_owned(), since);
    user.insert("suspended".to_owned(), json!(false));
    user.insert("two_factor_authentication_enabled".to_owned(), json!(false));
    user.insert("two_factor_authentication_locked".to_owned(), json!(false));
    Value::Object(user)
}

/// `GET …/tokens/verify`. A token that is not good does not come this far.
pub(crate) fn verify(call: &Call<'_>) -> Result<Reply, Refusal> {
    let token = &call.caller()?.token;
    let mut result = json!({ "id": token.id, "status": "active" });
    if let (Some(end), Some(object)) = (token.expires_us, result.as_object_mut()) {
        object.insert("expires_on".to_owned(), json!(time::timestamp(end)));
    }
    let said = Message::new(code::AUTHENTICATION, "This API Token is valid and active");
    Ok(Reply { messages: vec![said], ..Reply::of(result) })
}
