//! `get`: the server's tables, or objects in another form; `-w` follows changes; `--raw` reads any path.

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::output::{self, Format, TablePrinter};
use super::resources::{Resource, array};
use super::session::Session;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const JSON: &str = "application/json";

#[derive(Args)]
pub struct GetArgs {
    /// TYPE[,TYPE…] [NAME…], or TYPE/NAME…
    #[arg(required_unless_present = "raw")]
    what: Vec<String>,
    /// wide, yaml, json, name, jsonpath=TEMPLATE, jsonpath-file=FILE or custom-columns=HEADER:PATH,….
    #[arg(long, short)]
    output: Option<Format>,
    /// Look in every namespace.
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Only objects whose labels match.
    #[arg(long, short = 'l')]
    selector: Option<String>,
    /// Only objects whose fields match.
    #[arg(long)]
    field_selector: Option<String>,
    /// Order lists by what this JSONPath selects.
    #[arg(long, value_name = "PATH")]
    sort_by: Option<String>,
    /// Leave out the line of column names.
    #[arg(long)]
    no_headers: bool,
    /// Add a column of labels.
    #[arg(long)]
    show_labels: bool,
    /// After the list, print changes as they happen.
    #[arg(long, short)]
    watch: bool,
    /// Say nothing of a name that does not exist.
    #[arg(long)]
    ignore_not_found: bool,
    /// Print what the server answers at this path.
    #[arg(long, value_name = "PATH", conflicts_with = "what")]
    raw: Option<String>,
}

pub async fn run(session: &Session, args: &GetArgs) -> anyhow::Result<()> {
    if let Some(path) = &args.raw {
        print!("{}", session.text(path).await?);
        return Ok(());
    }
    let resources = session.resources().await?;
    let targets = resources.targets(&args.what)?;
    let several = targets.len() > 1;
    if args.all_namespaces && targets.iter().any(|(_, names)| !names.is_empty()) {
        bail!("error: a resource cannot be retrieved by name across all namespaces");
    }
    let mut found = false;
    for (resource, names) in targets {
        match args.output.clone().unwrap_or(Format::Table { wide: false }) {
            Format::Table { wide } => found |= tables(session, args, resource, &names, wide, several).await?,
            format => found |= objects(session, args, resource, &names, &format).await?,
        }
    }
    if !found && !args.ignore_not_found {
        match args.all_namespaces {
            true => eprintln!("No resources found"),
            false => eprintln!("No resources found in {} namespace.", session.namespace),
        }
    }
    Ok(())
}

fn query(args: &GetArgs) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("labelSelector", &args.selector), ("fieldSelector", &args.field_selector)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    if args.sort_by.is_some() {
        query.append_pair("includeObject", "Object");
    }
    query.finish()
}

/// The answers for a resource: one list, or one object for each name.
async fn fetch(
    session: &Session,
    args: &GetArgs,
    resource: &Resource,
    names: &[String],
    accept: &str,
) -> anyhow::Result<Vec<Value>> {
    if names.is_empty() {
        let path = session.path(resource, args.all_namespaces, None);
        return Ok(vec![session.get(&format!("{path}?{}", query(args)), accept).await?]);
    }
    let mut answers = Vec::new();
    for name in names {
        match session.get(&session.path(resource, false, Some(name)), accept).await {
            Ok(answer) => answers.push(answer),
            Err(error) if args.ignore_not_found && error.to_string().contains("(NotFound)") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answers)
}

async fn tables(
    session: &Session,
    args: &GetArgs,
    resource: &Resource,
    names: &[String],
    wide: bool,
    several: bool,
) -> anyhow::Result<bool> {
    let answers = fetch(session, args, resource, names, TABLE).await?;
    let mut printer = TablePrinter {
        wide,
        namespaces: args.all_namespaces && resource.namespaced,
        headers: !args.no_headers,
        labels: args.show_labels,
        prefix: several.then(|| resource.display()),
    };
    let revision = answers.first().map(|table| table["metadata"]["resourceVersion"].clone());
    let mut rows: Vec<Value> = answers.iter().flat_map(|table| array(&table["rows"])).cloned().collect();
    if let Some(path) = &args.sort_by {
        output::sort(&mut rows, path, |row| &row["object"])?;
    }
    let found = !rows.is_empty();
    if let Some(mut table) = answers.into_iter().next().filter(|_| found) {
        table["rows"] = rows.into();
        print!("{}", printer.render(&table));
        if several {
            println!();
        }
    }
    if args.watch {
        printer.headers &= !found;
        let revision = revision.as_ref().and_then(Value::as_str).unwrap_or("0");
        watch(session, args, resource, names, revision, &mut printer).await?;
    }
    Ok(found || args.watch)
}

async fn watch(
    session: &Session,
    args: &GetArgs,
    resource: &Resource,
    names: &[String],
    revision: &str,
    printer: &mut TablePrinter,
) -> anyhow::Result<()> {
    use futures::{AsyncBufReadExt, TryStreamExt};
    let mut query = query(args);
    if let [name] = names {
        query = format!("fieldSelector=metadata.name%3D{name}");
    }
    let path = session.path(resource, args.all_namespaces, None);
    let request = http::Request::get(format!("{path}?watch=1&resourceVersion={revision}&{query}"));
    let request = request.header("accept", TABLE).body(Vec::new())?;
    let mut lines = session.client.request_stream(request).await.map_err(super::session::worded)?.lines();
    let mut definitions = Value::Null;
    while let Some(line) = lines.try_next().await? {
        let mut event: Value = serde_json::from_str(&line)?;
        if event["type"] == "ERROR" {
            bail!("Error from server: {}", event["object"]["message"].as_str().unwrap_or_default());
        }
        let table = &mut event["object"];
        match array(&table["columnDefinitions"]).is_empty() {
            true => table["columnDefinitions"] = definitions.clone(),
            false => definitions = table["columnDefinitions"].clone(),
        }
        print!("{}", printer.render(table));
        printer.headers = false;
    }
    Ok(())
}

async fn objects(
    session: &Session,
    args: &GetArgs,
    resource: &Resource,
    names: &[String],
    format: &Format,
) -> anyhow::Result<bool> {
    let answers = fetch(session, args, resource, names, JSON).await?;
    if !names.is_empty() {
        let found = !answers.is_empty();
        if found {
            output::objects(format, resource, answers, true, !args.no_headers)?;
        }
        return Ok(found);
    }
    let mut items = Vec::new();
    for list in answers {
        for item in array(&list["items"]) {
            let mut item = item.clone();
            // Items of a list carry no type of their own.
            item["apiVersion"] = list["apiVersion"].clone();
            item["kind"] = resource.kind.clone().into();
            items.push(item);
        }
    }
    if let Some(path) = &args.sort_by {
        output::sort(&mut items, path, |item| item)?;
    }
    let found = !items.is_empty() || !matches!(format, Format::Name);
    output::objects(format, resource, items, false, !args.no_headers)?;
    Ok(found)
}
